"""Every route asked what its own document allows, and what it forbids: nothing but documented answers may come.

Bounded and repeatable: so many examples a route, the same ones every time. The admin routes are left out: they load,
put to sleep and unload the models that the others need, and make keys; their tests are elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi import checks

from aphrodite.service.app import ENDPOINTS
from aphrodite.service.http.endpoint import Endpoint
from tests.service.openapi_schema import Document
from tests.service.running import Running

EXAMPLES = 25
#: Refusals for the moment, not faults.
NOT_NOW = (503, 507)
CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
FUZZED = [endpoint for endpoint in ENDPOINTS if not endpoint.path.startswith("/admin/")]
ENCODER_PATHS = ("embeddings", "rerank", "score")
#: What decides how much is computed; the routes' other fields stay as they were drawn.
AMOUNTS = {"max_tokens": 3, "max_completion_tokens": 3, "max_output_tokens": 3, "n": 2, "best_of": 2}


@pytest.fixture(scope="module")
def schema(pair: Running, pair_http: httpx2.Client) -> Any:
    load_all_checks()
    loaded = schemathesis.openapi.from_dict(pair_http.get("/openapi.json").json())
    loaded.config.update(base_url=pair.url)
    return loaded


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as found:
        yield found


@pytest.fixture(scope="module", autouse=True)
def nothing_failed_inside(pair: Running) -> Iterator[None]:
    """No error is in the log when all is over, and the service answers."""
    yield
    errors = [line for line in pair.log.splitlines() if json.loads(line)["level"] in ("error", "critical")]
    assert errors == []
    with pair.client() as client:
        assert client.get("/health").status_code == 200


def small(endpoint: Endpoint, case: Case) -> Case:
    """The case for a model that exists, and not asking for much; wrong types and numbers out of range stay wrong."""
    body = case.body
    if not isinstance(body, dict):
        return case
    if isinstance(body.get("model"), str):
        body["model"] = "all-MiniLM-L6-v2" if endpoint.path.rpartition("/")[2] in ENCODER_PATHS else "demo"
    known = {field for field in getattr(endpoint.request, "__struct_fields__", ())}
    for name, amount in AMOUNTS.items():
        value = body.get(name)
        if name in known and (value is None or (type(value) is int and amount < value < 2**31)):
            body[name] = amount
    return case


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("endpoint", FUZZED, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_only_documented_answers_come(
    endpoint: Endpoint, mode: GenerationMode, schema: Any, session: requests.Session
) -> None:
    operation = schema[endpoint.path.replace(":path", "")][endpoint.method]

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES, derandomize=True, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much),
    )  # fmt: skip
    def ask(case: Case) -> None:
        answer = small(endpoint, case).call(session=session, timeout=30)
        assert answer.status_code < 500 or answer.status_code in NOT_NOW, answer.text
        case.validate_response(answer, checks=CHECKS)

    ask()


def test_the_admin_routes_are_all_that_is_left_out() -> None:
    left_out = {endpoint.path for endpoint in ENDPOINTS} - {endpoint.path for endpoint in FUZZED}
    assert left_out and all(path.startswith("/admin/") for path in left_out)


def test_the_document_that_is_fuzzed_is_the_one_that_is_served(pair_http: httpx2.Client) -> None:
    operations = Document(pair_http.get("/openapi.json").json()).operations()
    assert {(endpoint.method, endpoint.path.replace(":path", "")) for endpoint in FUZZED} <= operations.keys()


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**400], ids=["2**64", "-2**63-1", "10**400"])
def test_an_integer_that_no_message_can_hold_is_no_error_of_ours(pair_http: httpx2.Client, number: int) -> None:
    """Found by the fuzzer: it was a 500."""
    said = [{"role": "user", "content": "Hi", "when": number}]
    for path in ("/render", "/v1/chat/completions", "/tokenize"):
        body = json.dumps({"model": "demo", "messages": said})
        answer = pair_http.post(path, content=body, headers={"content-type": "application/json"})
        assert answer.status_code in (200, 400), (path, answer.text)
