"""FAULTS 41: what belongs to a teammate does not exist."""

from __future__ import annotations

import json

import httpx2
import pytest

from tests.service.running import Running
from tests.service.teammates import bearer, new_key

LINE = json.dumps(
    {"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": {"model": "demo", "input": "x"}}
)


@pytest.fixture
def mine(service: Running) -> dict[str, str]:
    return bearer(new_key(service))


@pytest.fixture
def theirs(service: Running) -> dict[str, str]:
    return bearer(new_key(service))


def same(answers: list[httpx2.Response], found: str, missing: str) -> None:
    """Nobody can tell somebody else's from what never was."""
    answer, unknown = answers
    assert answer.status_code == unknown.status_code == 404
    assert answer.text.replace(found, "ID") == unknown.text.replace(missing, "ID")


def test_fault_41_a_teammate_s_response(http: httpx2.Client, mine: dict[str, str], theirs: dict[str, str]) -> None:
    asked = {"model": "demo", "input": "my secret is 1234", "max_output_tokens": 4}
    made = http.post("/v1/responses", json=asked, headers=mine).json()["id"]
    unknown = "resp_000000000000000000000000"
    for method, rest in (("GET", ""), ("GET", "/input_items"), ("POST", "/cancel"), ("DELETE", "")):
        paths = [f"/v1/responses/{response_id}{rest}" for response_id in (made, unknown)]
        same([http.request(method, path, headers=theirs) for path in paths], made, unknown)
    bodies = [{**asked, "previous_response_id": response_id} for response_id in (made, unknown)]
    same([http.post("/v1/responses", json=body, headers=theirs) for body in bodies], made, unknown)
    assert http.get(f"/v1/responses/{made}", headers=mine).status_code == 200


def test_fault_41_a_teammate_s_conversation(http: httpx2.Client, mine: dict[str, str], theirs: dict[str, str]) -> None:
    items = [{"role": "user", "content": "my secret is 1234"}]
    made = http.post("/v1/conversations", json={"items": items}, headers=mine).json()["id"]
    unknown = "conv_000000000000000000000000"
    item = http.get(f"/v1/conversations/{made}/items", headers=mine).json()["data"][0]["id"]
    requests = [
        *(("GET", rest, None) for rest in ("", "/items", f"/items/{item}")),
        *(("DELETE", rest, None) for rest in (f"/items/{item}", "")),
        ("POST", "/items", {"items": items}),
        ("POST", "", {"metadata": {}}),
    ]
    for method, rest, body in requests:
        paths = [f"/v1/conversations/{conversation}{rest}" for conversation in (made, unknown)]
        same([http.request(method, path, json=body, headers=theirs) for path in paths], made, unknown)
    bodies = [{"model": "demo", "input": "x", "conversation": conversation} for conversation in (made, unknown)]
    same([http.post("/v1/responses", json=body, headers=theirs) for body in bodies], made, unknown)
    assert len(http.get(f"/v1/conversations/{made}/items", headers=mine).json()["data"]) == 1


def test_fault_41_a_teammate_s_batch(http: httpx2.Client, mine: dict[str, str], theirs: dict[str, str]) -> None:
    upload = {"data": {"purpose": "batch"}, "files": {"file": ("a.jsonl", LINE.encode())}}
    file_id = http.post("/v1/files", headers=mine, **upload).json()["id"]
    asked = {"input_file_id": file_id, "endpoint": "/v1/embeddings", "completion_window": "24h"}
    made = http.post("/v1/batches", json=asked, headers=mine).json()["id"]
    unknown = "batch_000000000000000000000000"
    for method, rest in (("GET", ""), ("POST", "/cancel")):
        paths = [f"/v1/batches/{batch}{rest}" for batch in (made, unknown)]
        same([http.request(method, path, headers=theirs) for path in paths], made, unknown)
    missing = "file-000000000000000000000000"
    bodies = [{**asked, "input_file_id": one} for one in (file_id, missing)]
    same([http.post("/v1/batches", json=body, headers=theirs) for body in bodies], file_id, missing)
    assert http.get("/v1/batches", headers=theirs).json()["data"] == []
    pages = [f"/v1/batches?after={batch}" for batch in (made, unknown)]
    same([http.get(page, headers=theirs) for page in pages], made, unknown)


def test_fault_41_a_teammate_s_prompts_are_not_in_the_cache(
    http: httpx2.Client, mine: dict[str, str], theirs: dict[str, str]
) -> None:
    asked = {"model": "demo", "input": "a long secret " * 40, "max_output_tokens": 1, "store": False}

    def cached(headers: dict[str, str]) -> int:
        usage = http.post("/v1/responses", json=asked, headers=headers).json()["usage"]
        return usage["input_tokens_details"]["cached_tokens"]

    assert cached(mine) == 0
    assert cached(mine) > 0
    assert cached(theirs) == 0
