"""Requests for responses that cannot be answered."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from tests.service.test_responses import SUM, WEATHER

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"input": []}, "input"),
    ({"input": 5}, "input"),
    ({"input": [{"role": "wizard", "content": "x"}]}, "input[0].role"),
    ({"input": [{"role": "user"}]}, "input[0].content"),
    ({"input": [{"role": "user", "content": []}]}, "input[0].content"),
    (
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "http://x"}]}]},
        "input[0].content[0].type",
    ),
    ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
    ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0].type"),
    ({"input": [{"type": "function_call", "name": "f", "arguments": "{}"}]}, "input[0].call_id"),
    ({"input": [{"type": "function_call_output", "call_id": "c", "output": 5}]}, "input[0].output"),
    ({"truncation": "auto"}, "truncation"),
    ({"include": ["reasoning.encrypted_content"]}, "include[0]"),
    ({"top_logprobs": 21}, "top_logprobs"),
    ({"max_output_tokens": -1}, "max_output_tokens"),
    ({"max_tokens": 5}, "max_tokens"),
    ({"n": 2}, "n"),
    ({"temperature": 3}, "temperature"),
    ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
    ({"tools": [{"type": "file_search", "vector_store_ids": []}]}, "tools[0].type"),
    ({"tools": [{"type": "function"}]}, "tools[0].name"),
    ({"tools": [WEATHER, WEATHER]}, "tools[1].name"),
    ({"tools": [WEATHER], "tool_choice": {"type": "function", "name": "other"}}, "tool_choice.name"),
    ({"tools": [WEATHER], "tool_choice": "sometimes"}, "tool_choice"),
    ({"tool_choice": {"type": "file_search"}}, "tool_choice.type"),
    ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
    ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema"),
    ({"text": {"verbosity": "low"}}, "text.verbosity"),
    ({"reasoning": {"summary": "auto"}}, "reasoning.summary"),
    ({"background": True, "store": False}, "background"),
    ({"prompt": {"id": "pmpt_1"}}, "prompt"),
    ({"max_tool_calls": 3}, "max_tool_calls"),
    ({"conversation": "conv_1", "previous_response_id": "resp_1"}, "conversation"),
    ({"conversation": {}}, "conversation.id"),
    ({"metadata": {"k": "v" * 600}}, "metadata"),
    ({"metadata": {str(n): "v" for n in range(17)}}, "metadata"),
    ({"service_tier": "priority"}, "service_tier"),
    ({"model": None}, "model"),
    ({"reasoning": {"effort": "low"}}, "reasoning.effort"),
    ({"temperature": "hot"}, "temperature"),
]


@pytest.mark.parametrize(("change", "param"), REFUSED, ids=[str(change)[:50] for change, _ in REFUSED])
def test_what_cannot_be_done_is_refused_by_name(http: httpx2.Client, change: dict[str, Any], param: str) -> None:
    answer = http.post("/v1/responses", json={"model": "demo", "input": SUM, **change})
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["param"] == param and param.partition("[")[0].partition(".")[0] in error["message"]


def test_an_input_over_the_context_is_refused_and_never_shortened(http: httpx2.Client) -> None:
    answer = http.post("/v1/responses", json={"model": "demo", "input": "word " * 3000})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == ("context_length_exceeded", "input")


def test_fault_27_ids_and_labels_that_look_like_sql(http: httpx2.Client) -> None:
    nasty = "'; DROP TABLE responses; --"
    asked = {"model": "demo", "input": SUM, "max_output_tokens": 2, "metadata": {nasty: nasty}, "user": nasty}
    made = http.post("/v1/responses", json=asked).json()
    assert http.get(f"/v1/responses/{made['id']}").json()["metadata"] == {nasty: nasty}
    for body in ({"previous_response_id": nasty}, {"conversation": nasty}, {"model": nasty}):
        answer = http.post("/v1/responses", json=asked | body)
        assert answer.status_code == 404, answer.text
    for path in ("responses", "conversations", "files", "batches"):
        assert http.get(f"/v1/{path}/' OR 1=1--").status_code == 404
        assert http.get(f"/v1/{path}/{made['id']}' OR '1'='1").status_code == 404
    listed = http.get("/v1/files", params={"after": nasty, "purpose": "' OR 1=1--"})
    assert listed.status_code == 404
    assert http.get(f"/v1/responses/{made['id']}").status_code == 200
