"""`/v1/messages` as Anthropic's own client uses it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from tests.service.running import Running

QUESTION: list[Any] = [{"role": "user", "content": "What is 39 + 48?"}]
STORY: list[Any] = [{"role": "user", "content": "Tell me a story about a fox named Pip."}]
WEATHER: Any = {
    "name": "get_weather",
    "description": "The weather in a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
CALL: Any = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Oslo"}}
ASK_WEATHER: list[Any] = [{"role": "user", "content": "What is the weather in Oslo?"}]


@pytest.fixture(scope="module")
def claude(service: Running) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=service.url, api_key="none", max_retries=0) as client:
        yield client


def post(http: httpx2.Client, path: str = "/v1/messages", **fields: Any) -> httpx2.Response:
    return http.post(path, json={"model": "demo", "max_tokens": 8, "messages": QUESTION} | fields)


def test_an_answer_from_anthropic_s_own_client(claude: anthropic.Anthropic) -> None:
    message = claude.messages.create(
        model="demo", max_tokens=16, messages=QUESTION, extra_body={"temperature": 0, "seed": 1}
    )
    assert message.id.startswith("msg_") and (message.type, message.role, message.model) == (
        "message",
        "assistant",
        "demo",
    )
    (block,) = message.content
    assert block.type == "text" and block.text == "87"
    assert message.stop_reason == "end_turn" and message.stop_sequence is None
    assert message.usage.input_tokens > 5 and message.usage.output_tokens > 1


def test_the_answer_is_chat_s(claude: anthropic.Anthropic, sdk: openai.OpenAI) -> None:
    message = claude.messages.create(
        model="demo", max_tokens=24, messages=STORY, system="Be brief.", extra_body={"seed": 7}
    )
    system: list[Any] = [{"role": "system", "content": "Be brief."}]
    chat = sdk.chat.completions.create(model="demo", max_tokens=24, messages=[*system, *STORY], seed=7)
    assert message.content[0].type == "text" and message.content[0].text == chat.choices[0].message.content
    assert message.stop_reason == "max_tokens"
    assert chat.usage is not None
    cached = message.usage.cache_read_input_tokens or 0
    assert message.usage.input_tokens + cached == chat.usage.prompt_tokens


def test_streamed_and_whole_are_the_same_message(claude: anthropic.Anthropic) -> None:
    fields: Any = {"model": "demo", "max_tokens": 24, "messages": STORY, "extra_body": {"seed": 7}}
    whole = claude.messages.create(**fields)
    with claude.messages.stream(**fields) as stream:
        text = "".join(stream.text_stream)
        streamed = stream.get_final_message()
    assert whole.content[0].type == "text" and text == whole.content[0].text
    assert streamed.stop_reason == whole.stop_reason
    assert streamed.usage.output_tokens == whole.usage.output_tokens == 24


def test_events_come_in_the_order_of_the_protocol(http: httpx2.Client) -> None:
    with http.stream("POST", "/v1/messages", json={
        "model": "demo", "max_tokens": 6, "messages": STORY, "stream": True, "seed": 1
    }) as answer:  # fmt: skip
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        lines = [line for line in answer.iter_lines() if line]
    names = [line.removeprefix("event: ") for line in lines[::2]]
    events = [json.loads(line.removeprefix("data: ")) for line in lines[1::2]]
    assert [event["type"] for event in events] == names
    assert names[:3] == ["message_start", "ping", "content_block_start"]
    assert names[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(names[3:-3]) == {"content_block_delta"}
    assert events[0]["message"]["content"] == [] and events[0]["message"]["stop_reason"] is None
    assert events[-2]["delta"] == {"stop_reason": "max_tokens", "stop_sequence": None}
    assert events[-2]["usage"]["output_tokens"] == 6


def test_a_stop_sequence_is_named(claude: anthropic.Anthropic) -> None:
    fields: Any = {"model": "demo", "max_tokens": 24, "messages": STORY, "extra_body": {"seed": 7}}
    whole = claude.messages.create(**fields).content[0]
    assert whole.type == "text"
    stop = whole.text[20:24]
    message = claude.messages.create(**fields, stop_sequences=["never said", stop])
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", stop)
    assert message.content[0].type == "text" and message.content[0].text == whole.text[: whole.text.index(stop)]


def test_a_full_context_is_told_from_the_limit(http: httpx2.Client) -> None:
    messages = [{"role": "user", "content": " fox" * 2000}]
    room = 2048 - http.post("/tokenize", json={"model": "demo", "messages": messages}).json()["count"]
    answer = post(http, messages=messages, max_tokens=1000, ignore_eos=True, seed=1).json()
    assert answer["stop_reason"] == "model_context_window_exceeded"
    assert answer["usage"]["output_tokens"] == room


def test_content_may_be_blocks_and_system_too(http: httpx2.Client) -> None:
    marked = {"type": "text", "text": "What is 39 + 48?", "cache_control": {"type": "ephemeral"}}
    answer = post(
        http, messages=[{"role": "user", "content": [marked]}], temperature=0,
        system=[{"type": "text", "text": "You add."}], metadata={"user_id": "u"},
    )  # fmt: skip
    assert answer.status_code == 200, answer.text
    assert answer.json()["content"][0]["text"] and answer.json()["seed"] >= 0


def test_a_forced_tool_is_called_with_arguments_of_its_schema(claude: anthropic.Anthropic) -> None:
    message = claude.messages.create(
        model="demo", max_tokens=256, messages=ASK_WEATHER, tools=[WEATHER],
        tool_choice={"type": "tool", "name": "get_weather"}, extra_body={"temperature": 0},
    )  # fmt: skip
    assert message.stop_reason == "tool_use"
    block = message.content[-1]
    assert block.type == "tool_use" and block.name == "get_weather" and block.id
    assert isinstance(block.input["city"], str)


def test_a_streamed_call_is_the_same_call(claude: anthropic.Anthropic) -> None:
    fields: Any = {
        "model": "demo", "max_tokens": 256, "messages": ASK_WEATHER, "tools": [WEATHER], "tool_choice": {"type": "any"},
        "extra_body": {"seed": 3},
    }  # fmt: skip
    whole = claude.messages.create(**fields)
    with claude.messages.stream(**fields) as stream:
        pieces = [event.partial_json for event in stream if event.type == "input_json"]
        streamed = stream.get_final_message()
    calls = [[(b.name, b.input) for b in m.content if b.type == "tool_use"] for m in (whole, streamed)]
    assert calls[0] == calls[1] and len(calls[0]) >= 1
    assert streamed.stop_reason == "tool_use" and pieces


def test_a_result_goes_back_to_the_model(claude: anthropic.Anthropic) -> None:
    turns: list[Any] = [
        *ASK_WEATHER,
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "A city.", "signature": "x"},
            {"type": "text", "text": "I look."},
            CALL,
        ]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "snow"}]},
            {"type": "text", "text": "And now?"},
        ]},
    ]  # fmt: skip
    message = claude.messages.create(model="demo", max_tokens=8, messages=turns, tools=[WEATHER])
    assert message.usage.output_tokens > 0
    failed = json.loads(json.dumps(turns).replace('"tool_use_id"', '"is_error": true, "tool_use_id"'))
    more = claude.messages.count_tokens(model="demo", messages=failed, tools=[WEATHER]).input_tokens
    assert more > claude.messages.count_tokens(model="demo", messages=turns, tools=[WEATHER]).input_tokens


def test_a_count_is_what_a_message_uses(claude: anthropic.Anthropic) -> None:
    fields: Any = {"model": "demo", "messages": ASK_WEATHER, "system": "Be brief.", "tools": [WEATHER]}
    counted = claude.messages.count_tokens(**fields).input_tokens
    usage = claude.messages.create(**fields, max_tokens=1).usage
    assert counted == usage.input_tokens + (usage.cache_read_input_tokens or 0)


def test_text_can_be_held_to_a_schema(claude: anthropic.Anthropic) -> None:
    schema = {
        "type": "object",
        "properties": {"sum": {"type": "integer"}},
        "required": ["sum"],
        "additionalProperties": False,
    }
    message = claude.messages.create(
        model="demo", max_tokens=40, messages=QUESTION, extra_body={"seed": 2},
        output_config={"format": {"type": "json_schema", "schema": schema}},
    )  # fmt: skip
    assert message.content[0].type == "text"
    if message.stop_reason == "end_turn":
        assert isinstance(json.loads(message.content[0].text)["sum"], int)
    else:
        assert message.content[0].text.startswith("{")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": None}, "max_tokens"),
        ({"temperature": 1.1}, "temperature"),
        ({"top_k": -2}, "top_k"),
        ({"n": 2}, "n"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "a"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": []}]}, "messages"),
        ({"messages": [*QUESTION, {"role": "assistant", "content": "8"}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]}, "messages[0].content[0]"),
        (
            {"messages": [{"role": "user", "content": [{"type": "tool_use", "id": "1", "name": "a", "input": {}}]}]},
            "messages",
        ),
        ({"stop_sequences": [""]}, "stop"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"name": "a"}]}, "tools[0].input_schema"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"tool_choice": {"type": "sometimes"}}, "tool_choice.type"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "thinking.type"),
        ({"mcp_servers": [{"url": "http://localhost"}]}, "mcp_servers"),
        ({"structured_outputs": {"regex": "a"}}, "structured_outputs"),
    ],
)
def test_what_is_wrong_is_named_in_the_shape_of_the_protocol(
    http: httpx2.Client, fields: dict[str, Any], param: str
) -> None:
    answer = post(http, **fields)
    assert answer.status_code == 400, answer.text
    body = answer.json()
    assert body["type"] == "error" and body["error"]["type"] == "invalid_request_error"
    assert body["error"]["param"].startswith(param) and body["error"]["message"]


def test_errors_are_those_of_anthropic_s_client(claude: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError) as unknown:
        claude.messages.create(model="claude-9", max_tokens=1, messages=QUESTION)
    assert isinstance(unknown.value.body, dict) and unknown.value.body["error"]["type"] == "not_found_error"
    with pytest.raises(anthropic.BadRequestError, match="2047"):
        claude.messages.create(model="demo", max_tokens=1, messages=[{"role": "user", "content": "fox " * 3000}])
    with pytest.raises(anthropic.BadRequestError):
        claude.messages.count_tokens(model="demo", messages=[{"role": "assistant", "content": "8"}])


def test_one_system_message_among_the_others_is_for_the_template_to_judge(http: httpx2.Client) -> None:
    first = [{"role": "system", "content": "Be brief."}, *QUESTION]
    assert post(http, messages=first).status_code == 200
    assert post(http, messages=[*QUESTION, *first]).status_code == 400


def test_what_is_refused_before_the_route_speaks_anthropic_too(guarded: Running) -> None:
    with guarded.client() as http:
        for path in ("/v1/messages", "/v1/messages/count_tokens"):
            refused = http.post(path, json={})
            assert refused.status_code == 401 and refused.headers["www-authenticate"] == "Bearer"
            assert refused.json()["type"] == "error"
            assert refused.json()["error"]["type"] == "authentication_error"
        assert http.post("/v1/chat/completions", json={}).json()["error"]["type"] == "authentication_error"
    with guarded.client(headers=guarded.admin) as http:
        wrong = http.get("/v1/messages")
        assert (wrong.status_code, wrong.json()["type"], wrong.json()["error"]["code"]) == (
            405, "error", "method_not_allowed",
        )  # fmt: skip
        assert http.get("/v1/messages/nowhere").json()["error"]["type"] == "not_found_error"
    with anthropic.Anthropic(base_url=guarded.url, api_key="wrong", max_retries=0) as client:
        with pytest.raises(anthropic.AuthenticationError, match="the key is wrong, or was revoked"):
            client.messages.create(model="demo", max_tokens=1, messages=QUESTION)
