"""`/v1/responses` and `/v1/conversations` as their clients use them."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx2
import openai
import pydantic
import pytest
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage

SUM = "What is 39 + 48?"
STORY = "Tell me a story about a fox named Pip."
WEATHER: dict[str, Any] = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
SETTINGS = {
    "id", "object", "created_at", "completed_at", "status", "background", "error", "incomplete_details", "instructions",
    "max_output_tokens", "max_tool_calls", "model", "output", "parallel_tool_calls", "previous_response_id",
    "conversation", "prompt", "prompt_cache_key", "prompt_cache_retention", "reasoning", "safety_identifier",
    "service_tier", "store", "temperature", "text", "tool_choice", "tools", "top_logprobs", "top_p", "truncation",
    "usage", "user", "metadata", "seed", "system_fingerprint",
}  # fmt: skip


# ---- whole


def test_an_answer_from_openai_s_own_client(sdk: openai.OpenAI) -> None:
    made = sdk.responses.create(model="demo", input=SUM, temperature=0, instructions="You are a helpful assistant.")
    assert made.output_text == "87" and made.status == "completed" and made.id.startswith("resp_")
    assert made.completed_at and made.created_at <= made.completed_at
    usage = made.usage
    assert usage is not None and usage.total_tokens == usage.input_tokens + usage.output_tokens
    assert usage.input_tokens_details.cached_tokens >= 0 and usage.output_tokens_details.reasoning_tokens == 0
    assert sdk.responses.retrieve(made.id) == made
    sdk.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        sdk.responses.retrieve(made.id)


def test_the_answer_says_its_settings_nulls_included(http: httpx2.Client) -> None:
    plain = http.post("/v1/responses", json={"model": "demo", "input": SUM}).json()
    assert set(plain) == SETTINGS
    assert (plain["temperature"], plain["top_p"], plain["store"], plain["background"]) == (1.0, 1.0, True, False)
    assert plain["text"] == {"format": {"type": "text"}, "verbosity": "medium"} and plain["tools"] == []
    asked = {
        "instructions": "Be brief.", "max_output_tokens": 5, "metadata": {"a": "b'; DROP TABLE responses; --"},
        "temperature": 0.5, "top_p": 0.9, "tools": [WEATHER], "tool_choice": "none", "parallel_tool_calls": False,
        "store": False, "user": "dana", "top_logprobs": 2, "prompt_cache_key": "k", "seed": 5,
        "include": ["message.output_text.logprobs"], "truncation": "disabled", "service_tier": "auto",
    }  # fmt: skip
    found = http.post("/v1/responses", json={"model": "demo", "input": SUM, **asked}).json()
    unlike = {name: found[name] for name in asked if name in found and found[name] != asked[name]}
    assert unlike == {"tools": [{**WEATHER, "strict": True}], "service_tier": "default"}
    assert http.get(f"/v1/responses/{found['id']}").status_code == 404, "store is false"


def test_a_cut_answer_is_incomplete(sdk: openai.OpenAI) -> None:
    made = sdk.responses.create(model="demo", input=STORY, max_output_tokens=3, extra_body={"ignore_eos": True})
    assert made.status == "incomplete" and made.completed_at is None
    assert made.incomplete_details is not None and made.incomplete_details.reason == "max_output_tokens"
    assert isinstance(made.output[0], ResponseOutputMessage) and made.output[0].status == "incomplete"


def test_the_seed_in_an_answer_gives_it_again(sdk: openai.OpenAI) -> None:
    one = sdk.responses.create(model="demo", input=STORY, max_output_tokens=20)
    seed = one.to_dict()["seed"]
    again = sdk.responses.create(model="demo", input=STORY, max_output_tokens=20, extra_body={"seed": seed})
    assert again.output_text == one.output_text


def test_logprobs_of_every_token(sdk: openai.OpenAI) -> None:
    made = sdk.responses.create(
        model="demo", input=STORY, max_output_tokens=6, top_logprobs=3, include=["message.output_text.logprobs"]
    )
    part = made.output[0].content[0]  # type: ignore[union-attr]
    assert len(part.logprobs) == 6 and all(len(one.top_logprobs) == 3 for one in part.logprobs)  # type: ignore
    assert "".join(one.token for one in part.logprobs).strip() == part.text.strip()  # type: ignore


# ---- several turns


def test_a_response_goes_on_from_the_one_before(sdk: openai.OpenAI, http: httpx2.Client) -> None:
    first = sdk.responses.create(model="demo", input=SUM, instructions="You are a poet.", max_output_tokens=8)
    second = sdk.responses.create(model="demo", input="And 1 + 1?", previous_response_id=first.id, max_output_tokens=8)
    assert second.instructions is None, "instructions are not inherited"
    messages = [
        {"role": "user", "content": SUM},
        {"role": "assistant", "content": first.output_text},
        {"role": "user", "content": "And 1 + 1?"},
    ]
    chat = sdk.chat.completions.create(model="demo", messages=messages, max_tokens=1)  # type: ignore[arg-type]
    assert second.usage is not None and chat.usage is not None
    assert second.usage.input_tokens == chat.usage.prompt_tokens
    listed = http.get(f"/v1/responses/{second.id}/input_items").json()
    assert [item["content"][0]["text"] for item in listed["data"]] == ["And 1 + 1?"]
    sdk.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError, match=first.id):
        sdk.responses.create(model="demo", input="x", previous_response_id=second.id)


def test_a_history_may_be_sent_as_items(sdk: openai.OpenAI) -> None:
    items: list[Any] = [
        {"role": "developer", "content": "Be kind."},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "The weather in Oslo?"}]},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": '{"city": "Oslo"}'},
        {"type": "function_call_output", "call_id": "call_1", "output": '{"degrees": 4}'},
        {"role": "assistant", "content": [{"type": "output_text", "text": "4 degrees.", "annotations": []}]},
        {"role": "user", "content": SUM},
    ]
    made = sdk.responses.create(model="demo", input=items, tools=[WEATHER], max_output_tokens=30)  # type: ignore
    assert made.status in ("completed", "incomplete")
    listed = list(sdk.responses.input_items.list(made.id, limit=3, order="asc"))
    assert [item.type for item in listed] == [item.get("type", "message") for item in items]
    assert listed[2].id == "rs_1"
    again = list(sdk.responses.input_items.list(made.id, limit=2))
    assert [item.id for item in again] == [item.id for item in listed[::-1]]


def test_input_tokens_are_those_of_the_answer(sdk: openai.OpenAI) -> None:
    first = sdk.responses.create(model="demo", input=SUM, max_output_tokens=8)
    asked: dict[str, Any] = {
        "model": "demo", "input": STORY, "instructions": "Be brief.", "previous_response_id": first.id,
        "tools": [WEATHER],
    }  # fmt: skip
    counted = sdk.responses.input_tokens.count(**asked)
    made = sdk.responses.create(**asked, max_output_tokens=1)
    assert made.usage is not None and counted.input_tokens == made.usage.input_tokens
    assert counted.object == "response.input_tokens"


def test_a_conversation_remembers(sdk: openai.OpenAI) -> None:
    conversation = sdk.conversations.create(
        items=[{"type": "message", "role": "user", "content": "Hello"}], metadata={"topic": "sums"}
    )
    assert sdk.conversations.retrieve(conversation.id).metadata == {"topic": "sums"}
    made = sdk.responses.create(model="demo", input=SUM, conversation=conversation.id, max_output_tokens=8)
    assert made.conversation is not None and made.conversation.id == conversation.id
    items = list(sdk.conversations.items.list(conversation.id, order="asc", limit=2))
    assert [item.role for item in items] == ["user", "user", "assistant"]  # type: ignore[union-attr]
    assert sdk.conversations.items.retrieve(items[2].id or "", conversation_id=conversation.id).id == made.output[0].id
    added = sdk.conversations.items.create(conversation.id, items=[{"role": "user", "content": "Bye"}])
    sdk.conversations.items.delete(added.data[0].id or "", conversation_id=conversation.id)
    assert len(list(sdk.conversations.items.list(conversation.id))) == 3
    assert sdk.conversations.update(conversation.id, metadata={"a": "b"}).metadata == {"a": "b"}
    assert sdk.conversations.delete(conversation.id).deleted
    with pytest.raises(openai.NotFoundError):
        sdk.responses.create(model="demo", input=SUM, conversation=conversation.id)


# ---- tools and structure


def test_a_forced_call_is_a_function_call_item(sdk: openai.OpenAI) -> None:
    made = sdk.responses.create(
        model="demo", input="What is the weather in Paris?", tools=[WEATHER],  # type: ignore[list-item]
        tool_choice={"type": "function", "name": "get_weather"}, max_output_tokens=200,
    )  # fmt: skip
    call = next(item for item in made.output if isinstance(item, ResponseFunctionToolCall))
    assert call.name == "get_weather" and call.call_id and call.status == "completed"
    assert isinstance(json.loads(call.arguments)["city"], str)
    after = sdk.responses.create(
        model="demo", previous_response_id=made.id, max_output_tokens=20,
        input=[{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}],
    )  # fmt: skip
    assert after.status in ("completed", "incomplete")


class Person(pydantic.BaseModel):
    name: str
    age: int


def test_openai_s_own_client_parses_what_it_asked_for(sdk: openai.OpenAI) -> None:
    made = sdk.responses.parse(
        model="demo", input="Dana is 41 years old.", text_format=Person, max_output_tokens=400, temperature=0
    )
    assert isinstance(made.output_parsed, Person)


def test_a_json_object(sdk: openai.OpenAI) -> None:
    made = sdk.responses.create(
        model="demo", input="Give me JSON.", text={"format": {"type": "json_object"}}, max_output_tokens=400,
        temperature=0,
    )  # fmt: skip
    assert made.status == "incomplete" or isinstance(json.loads(made.output_text), dict)


def test_a_long_conversation_is_told_in_one_query(http: httpx2.Client) -> None:
    previous = None
    for _ in range(60):
        asked = {"model": "demo", "input": "Hi", "max_output_tokens": 1, "previous_response_id": previous}
        answer = http.post("/v1/responses", json=asked)
        assert answer.status_code == 200, answer.text
        previous = answer.json()["id"]
    started = time.monotonic()
    counted = http.post(
        "/v1/responses/input_tokens", json={"model": "demo", "input": "Hi", "previous_response_id": previous}
    )
    assert counted.json()["input_tokens"] > 120
    assert time.monotonic() - started < 5
