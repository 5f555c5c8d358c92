"""`/openapi.json` is a valid document, knows every route, and tells the truth about the answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import openapi_spec_validator
import pytest

from aphrodite.service.app import ENDPOINTS
from aphrodite.service.errors import ApiError
from aphrodite.service.openai.sampling import checked
from tests.service.openapi_schema import Document, events
from tests.service.running import DEMO, Running, running

QUESTION = [{"role": "user", "content": "What is 39 + 48?"}]
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def document(http: httpx2.Client) -> Document:
    return Document(http.get("/openapi.json").json())


def test_the_document_is_valid_openapi(document: Document) -> None:
    assert document.document["openapi"].startswith("3.1.")
    openapi_spec_validator.validate(document.document)


def test_every_route_is_in_it_and_nothing_else(document: Document) -> None:
    routes = {(endpoint.method, endpoint.path.replace(":path", "")) for endpoint in ENDPOINTS}
    assert document.operations().keys() == routes
    ids = [operation["operationId"] for operation in document.operations().values()]
    assert len(set(ids)) == len(ids)


def test_every_operation_names_its_security_and_its_errors(document: Document) -> None:
    for (method, path), operation in document.operations().items():
        ways = operation["security"]
        assert ({} in ways) is not path.startswith("/admin/"), (method, path)
        assert {"400", "401", "500"} <= operation["responses"].keys()
        successes = [status for status in operation["responses"] if status.startswith("2")]
        assert len(successes) == 1


def test_the_document_needs_a_key_like_every_route(http: httpx2.Client) -> None:
    assert http.get("/openapi.json", headers={"authorization": "Bearer wrong"}).status_code == 401


def test_attributes_of_docstrings_are_descriptions_of_fields(document: Document) -> None:
    schema = document.document["components"]["schemas"]["GenerateRequest"]
    assert schema["properties"]["priority"]["description"].startswith("higher numbers wait for lower ones")
    assert "Attributes:" not in json.dumps(document.document)


def test_what_an_answer_always_has_is_required(document: Document) -> None:
    schemas = document.document["components"]["schemas"]
    message = schemas["OpenaiChatShapesMessage"]
    assert {"content", "role", "refusal", "annotations"} <= set(message["required"])
    assert "tool_calls" not in message["required"]
    assert schemas["ChatRequest"]["required"] == ["model", "messages"]


# ---- answers


def chat(**fields: Any) -> dict[str, Any]:
    return {"model": "demo", "messages": QUESTION, "max_tokens": 8, **fields}


#: Method, path of the document, and how to ask for it: a body, a path, or both.
ANSWERS: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", CHAT, {"json": chat(n=2, logprobs=True, top_logprobs=2, return_token_ids=True)}),
    ("POST", CHAT, {"json": chat(stream=True, logprobs=True, stream_options={"include_usage": True})}),
    ("POST", CHAT, {"json": chat(temperature=3)}),
    ("POST", CHAT, {"json": chat(model="nobody")}),
    ("POST", CHAT, {"content": b"[", "headers": {"content-type": "application/json"}}),
    ("POST", CHAT, {"content": b"{}", "headers": {"content-type": "text/plain"}}),
    ("POST", "/v1/completions", {"json": {"model": "demo", "prompt": ["One", "Two"], "logprobs": 2, "echo": True}}),
    ("POST", "/v1/completions", {"json": {"model": "demo", "prompt": "One", "stream": True}}),
    ("POST", "/v1/responses", {"json": {"model": "demo", "input": "What is 39 + 48?", "max_output_tokens": 8}}),
    ("POST", "/v1/responses", {"json": {"model": "demo", "input": "Hi", "max_output_tokens": 8, "stream": True}}),
    ("POST", "/v1/responses/input_tokens", {"json": {"model": "demo", "input": "What is 39 + 48?"}}),
    ("POST", "/generate", {"json": {"prompt": "One", "max_tokens": 4, "logprobs": 2, "prompt_logprobs": 1}}),
    ("POST", "/generate", {"json": {"messages": QUESTION, "max_tokens": 4, "stream": True}}),
    ("POST", "/render", {"json": {"messages": QUESTION}}),
    ("POST", "/tokenize", {"json": {"model": "demo", "prompt": "One two", "return_token_strs": True}}),
    ("POST", "/detokenize", {"json": {"model": "demo", "tokens": [5, 6, 7]}}),
    ("POST", "/v1/messages", {"json": {"model": "demo", "messages": QUESTION, "max_tokens": 8}}),
    ("POST", "/v1/messages", {"json": {"model": "demo", "messages": QUESTION, "max_tokens": 8, "stream": True}}),
    ("POST", "/v1/messages", {"json": {"model": "nobody", "messages": QUESTION, "max_tokens": 8}}),
    ("POST", "/v1/messages/count_tokens", {"json": {"model": "demo", "messages": QUESTION}}),
    ("GET", "/v1/models", {}),
    ("GET", "/v1/models/{model}", {"url": "/v1/models/demo"}),
    ("GET", "/v1/models/{model}", {"url": "/v1/models/no/body"}),
    ("GET", "/v1/files/{file_id}", {"url": "/v1/files/file-nobody"}),
    ("POST", "/v1/files", {"files": {"other": b"x"}}),
    ("GET", "/v1/files", {"params": {"limit": 0}}),
    ("GET", "/health", {}),
    ("GET", "/version", {}),
    ("GET", "/metrics", {}),
    ("GET", "/openapi.json", {}),
    ("GET", "/admin/status", {}),
    ("GET", "/admin/keys", {}),
    ("POST", "/admin/load", {"json": {"model": "demo"}}),
    ("POST", "/admin/unload", {"json": {"model": "nobody"}}),
    ("POST", "/admin/sleep", {"json": {"model": "nobody"}}),
    ("POST", "/admin/wake", {"json": {"model": "demo"}}),
    ("GET", "/admin/lease", {}),
]


def ask(client: httpx2.Client, method: str, path: str, asked: dict[str, Any]) -> httpx2.Response:
    return client.request(method, asked.get("url", path), **{k: v for k, v in asked.items() if k != "url"})


@pytest.fixture(scope="module")
def admin(service: Running) -> Iterator[httpx2.Client]:
    with service.client(headers=service.admin) as client:
        yield client


@pytest.mark.parametrize(("method", "path", "asked"), ANSWERS)
def test_an_answer_is_as_documented(
    document: Document, admin: httpx2.Client, method: str, path: str, asked: dict[str, Any]
) -> None:
    document.check_answer(method, path, ask(admin, method, path, asked))


ENCODED: list[tuple[str, dict[str, Any]]] = [
    ("/v1/embeddings", {"input": ["a", "b"]}),
    ("/v1/embeddings", {"input": "a", "encoding_format": "base64"}),
    *((path, {"query": "fox", "documents": ["a fox", "a bear"]}) for path in ("/v1/rerank", "/v2/rerank", "/rerank")),
    *((path, {"text_1": "fox", "text_2": ["a fox", "a bear"]}) for path in ("/v1/score", "/score")),
]


@pytest.mark.parametrize(("path", "fields"), ENCODED)
def test_an_encoder_s_answer_is_as_documented(
    document: Document, pair_http: httpx2.Client, path: str, fields: dict[str, Any]
) -> None:
    answer = pair_http.post(path, json={"model": "all-MiniLM-L6-v2", **fields})
    assert answer.status_code == 200, answer.text
    document.check_answer("POST", path, answer)


def test_stored_things_are_as_documented_from_their_making_to_their_end(
    document: Document, http: httpx2.Client
) -> None:
    def step(method: str, path: str, status: int = 200, url: str = "", **asked: Any) -> Any:
        answer = http.request(method, url or path, **asked)
        assert answer.status_code == status, answer.text
        document.check_answer(method, path, answer)
        return answer.json() if answer.headers["content-type"] == "application/json" else answer.content

    line = {"custom_id": "1", "method": "POST", "url": CHAT, "body": chat()}
    content = json.dumps(line).encode() + b"\n"
    file = step("POST", "/v1/files", files={"file": ("in.jsonl", content)}, data={"purpose": "batch"})
    one_file = f"/v1/files/{file['id']}"
    assert step("GET", "/v1/files/{file_id}", url=one_file)["bytes"] == len(content)
    assert step("GET", "/v1/files/{file_id}/content", url=one_file + "/content") == content
    step("GET", "/v1/files", params={"limit": 1, "order": "asc"})
    wanted = {"input_file_id": file["id"], "endpoint": CHAT, "completion_window": "24h", "metadata": {"a": "b"}}
    batch = step("POST", "/v1/batches", json=wanted)
    one_batch = f"/v1/batches/{batch['id']}"
    step("GET", "/v1/batches/{batch_id}", url=one_batch)
    step("GET", "/v1/batches", params={"limit": 5})
    answer = http.post(one_batch + "/cancel")
    document.check_answer("POST", "/v1/batches/{batch_id}/cancel", answer)

    response = step("POST", "/v1/responses", json={"model": "demo", "input": "Hi", "max_output_tokens": 4})
    one = f"/v1/responses/{response['id']}"
    step("GET", "/v1/responses/{response_id}", url=one)
    step("GET", "/v1/responses/{response_id}/input_items", url=one + "/input_items")
    step("POST", "/v1/responses/{response_id}/cancel", 400, url=one + "/cancel")
    step("DELETE", "/v1/responses/{response_id}", url=one)

    items = [{"type": "message", "role": "user", "content": "Hi"}]
    conversation = step("POST", "/v1/conversations", json={"items": items, "metadata": {"a": "b"}})
    path = "/v1/conversations/{conversation_id}"
    one = f"/v1/conversations/{conversation['id']}"
    step("GET", path, url=one)
    step("POST", path, url=one, json={"metadata": {}})
    added = step("POST", path + "/items", url=one + "/items", json={"items": items})["data"][0]["id"]
    step("GET", path + "/items", url=one + "/items")
    step("GET", path + "/items/{item_id}", url=f"{one}/items/{added}")
    step("DELETE", path + "/items/{item_id}", url=f"{one}/items/{added}")
    step("DELETE", path, url=one)


@pytest.mark.slow
def test_what_an_admin_does_is_as_documented(document: Document) -> None:
    with running() as service, service.client(headers=service.admin) as admin:

        def step(method: str, path: str, status: int = 200, url: str = "", **asked: Any) -> Any:
            answer = admin.request(method, url or path, **asked)
            assert answer.status_code == status, answer.text
            document.check_answer(method, path, answer)
            return answer.json()

        step("POST", "/admin/load", json={"model": "demo", "names": ["second"], "engine": DEMO.engine})
        for verb in ("sleep", "wake", "unload"):
            step("POST", f"/admin/{verb}", json={"model": "second"})
        step("POST", "/admin/keys", 201, json={"name": "dana", "limits": {"concurrent": 2}})
        step("GET", "/admin/keys")
        step("DELETE", "/admin/keys/{name}", url="/admin/keys/dana")
        step("POST", "/admin/lease", 201, json={"seconds": 60, "reason": "a benchmark"})
        step("GET", "/admin/lease")
        step("DELETE", "/admin/lease")


def test_every_operation_is_asked_somewhere_above(document: Document) -> None:
    """So that a new route comes with its answer."""
    source = Path(__file__).read_text()
    asked = {(method, path) for method, path, _ in ANSWERS} | {("POST", path) for path, _ in ENCODED}
    for method, path in document.operations().keys() - asked:
        assert path.rpartition("/")[2] in source, f"{method} {path} is asked nowhere in this file"


# ---- ranges


def _ranges(document: Document) -> list[tuple[str, dict[str, Any]]]:
    properties = document.document["components"]["schemas"]["ChatRequest"]["properties"]
    found = [(name, option) for name, schema in properties.items() for option in schema.get("anyOf", ())]
    numbers = ("minimum", "maximum", "exclusiveMinimum")
    own = ("max_completion_tokens", "top_logprobs")  # OpenAI's names; the route gives them others
    return [(name, option) for name, option in found if name not in own and any(key in option for key in numbers)]


def test_ranges_are_those_that_the_engine_checks(document: Document) -> None:
    ranges = dict(_ranges(document))
    assert {"n", "temperature", "top_k", "top_p", "min_p", "seed", "max_tokens", "prompt_logprobs"} <= ranges.keys()
    for name, schema in ranges.items():
        step = 1 if schema["type"] == "integer" else 1e-9
        inside = [schema[key] for key in ("minimum", "maximum") if key in schema]
        outside = [schema["maximum"] + step, schema.get("exclusiveMinimum", schema.get("minimum", 0) - step)]
        for value in inside:
            # Neutral, these would be less than the most of min_tokens and of dynatemp_min.
            checked({"max_tokens": None, "dynatemp_max": 100, name: value} if name != "temperature" else {name: value})
        for value in outside:
            with pytest.raises(ApiError, match=name):
                checked({name: value})


def test_a_stream_s_error_is_an_event_of_its_own(http: httpx2.Client) -> None:
    answer = http.post(CHAT, json=chat(stream=True, max_tokens=2))
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert all("error" not in event for event in events(answer.text))
