"""`/v1/responses` and `/v1/conversations` as their clients use them."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

import httpx2
import openai
import pydantic
import pytest
from openai.types.responses import Response, ResponseFunctionToolCall, ResponseOutputMessage

from tests.service.running import Running, running, wait_for

SUM = "What is 39 + 48?"
STORY = "Tell me a story about a fox named Pip."
ENDLESS: dict[str, Any] = {"input": STORY, "extra_body": {"ignore_eos": True}, "max_output_tokens": 1900}
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


def events_of(text: str) -> list[dict[str, Any]]:
    """The events of a stream; each names its type twice."""
    found = []
    for block in text.strip().split("\n\n"):
        if block.startswith(":"):
            continue
        name, data = block.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    return found


def running_now(service: Running) -> int:
    with service.client(headers=service.admin) as client:
        return client.get("/admin/status").json()["models"][0]["stats"]["running"]


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


# ---- streams


def test_a_stream_tells_everything_in_order(http: httpx2.Client) -> None:
    asked = {"model": "demo", "input": STORY, "max_output_tokens": 12, "seed": 3, "stream": True}
    answer = http.post("/v1/responses", json=asked)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    events = events_of(answer.text)
    names = [event["type"] for event in events]
    assert names[:4] == [
        "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
    ]  # fmt: skip
    deltas = [event for event in events if event["type"] == "response.output_text.delta"]
    assert names[4:-4] == ["response.output_text.delta"] * len(deltas)
    assert names[-4:-1] == ["response.output_text.done", "response.content_part.done", "response.output_item.done"]
    assert names[-1] in ("response.completed", "response.incomplete")
    last = events[-1]["response"]
    assert set(last) == set(events[0]["response"]) == SETTINGS
    text = "".join(event["delta"] for event in deltas)
    assert text == events[-4]["text"] == events[-3]["part"]["text"] == last["output"][0]["content"][0]["text"]
    assert events[0]["response"]["status"] == "in_progress" and events[0]["response"]["output"] == []
    assert events[2]["item"]["content"] == [] and events[2]["item"]["status"] == "in_progress"
    assert {event["item_id"] for event in deltas} == {last["output"][0]["id"]}
    whole = http.post("/v1/responses", json={**asked, "stream": False}).json()
    assert whole["output"][0]["content"][0]["text"] == text
    assert http.get(f"/v1/responses/{last['id']}").json() == last


def test_openai_s_own_client_puts_a_stream_together(sdk: openai.OpenAI) -> None:
    with sdk.responses.stream(model="demo", input=SUM, temperature=0) as stream:
        texts = [event.snapshot for event in stream if event.type == "response.output_text.delta"]
        assert texts[-1] == "87"
        final = stream.get_final_response()
    assert final.output_text == "87" and final.usage is not None
    assert sdk.responses.retrieve(final.id).output_text == "87"


def test_a_client_that_goes_away_ends_its_response(service: Running) -> None:
    asked = {"model": "demo", "input": STORY, "stream": True, "ignore_eos": True, "max_output_tokens": 1900}
    with service.client() as client:
        with client.stream("POST", "/v1/responses", json=asked) as stream:
            lines = stream.iter_lines()
            created = json.loads([next(lines), next(lines)][1].removeprefix("data: "))
            wait_for(lambda: running_now(service) == 1, 10)
        wait_for(lambda: running_now(service) == 0, 10)
        path = f"/v1/responses/{created['response']['id']}"
        wait_for(lambda: client.get(path).status_code == 200, 5)
        assert client.get(path).json()["status"] == "cancelled"


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


def test_a_call_is_streamed_in_pieces(http: httpx2.Client) -> None:
    asked = {
        "model": "demo", "input": "What is the weather in Paris?", "tools": [WEATHER], "tool_choice": "required",
        "stream": True, "parallel_tool_calls": False, "max_output_tokens": 200,
    }  # fmt: skip
    events = events_of(http.post("/v1/responses", json=asked).text)
    added = next(event for event in events if event["type"] == "response.output_item.added")
    assert added["item"]["type"] == "function_call" and added["item"]["arguments"] == ""
    pieces = [event["delta"] for event in events if event["type"] == "response.function_call_arguments.delta"]
    done = next(event for event in events if event["type"] == "response.function_call_arguments.done")
    assert "".join(pieces) == done["arguments"] and isinstance(json.loads(done["arguments"])["city"], str)
    assert done["item_id"] == added["item"]["id"] and done["name"] == "get_weather"
    assert events[-1]["response"]["output"][0]["arguments"] == done["arguments"]


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


# ---- in the background


def test_a_background_response_goes_on_without_its_caller(sdk: openai.OpenAI) -> None:
    made = sdk.responses.create(model="demo", input=SUM, temperature=0, background=True)
    assert made.status == "queued" and made.background and made.output == []
    done = wait_for(lambda: ended(sdk, made), 20)
    assert done.status == "completed" and done.output_text == "87" and done.usage is not None


def ended(sdk: openai.OpenAI, made: Response) -> Response | None:
    found = sdk.responses.retrieve(made.id)
    return found if found.status not in ("queued", "in_progress") else None


def test_a_background_response_can_be_cancelled(service: Running, sdk: openai.OpenAI) -> None:
    made = sdk.responses.create(model="demo", background=True, **ENDLESS)
    wait_for(lambda: sdk.responses.retrieve(made.id).status == "in_progress", 10)
    assert sdk.responses.cancel(made.id).status == "cancelled"
    wait_for(lambda: running_now(service) == 0, 10)
    assert sdk.responses.retrieve(made.id).status == "cancelled"
    assert sdk.responses.cancel(made.id).status == "cancelled", "once more does no harm"
    with pytest.raises(openai.BadRequestError, match="cancelled"):
        sdk.responses.create(model="demo", input="x", previous_response_id=made.id)


def test_only_what_runs_in_the_background_can_be_cancelled(sdk: openai.OpenAI) -> None:
    made = sdk.responses.create(model="demo", input=SUM, max_output_tokens=2)
    with pytest.raises(openai.BadRequestError, match="background"):
        sdk.responses.cancel(made.id)
    behind = sdk.responses.create(model="demo", input=SUM, max_output_tokens=2, background=True)
    wait_for(lambda: ended(sdk, behind), 20)
    with pytest.raises(openai.BadRequestError, match="cannot be cancelled"):
        sdk.responses.cancel(behind.id)


def test_a_background_stream_can_be_left_and_taken_up_again(http: httpx2.Client) -> None:
    asked = {"model": "demo", "input": STORY, "ignore_eos": True, "max_output_tokens": 600, "background": True}
    with http.stream("POST", "/v1/responses", json={**asked, "stream": True}) as stream:
        lines = stream.iter_lines()
        first = json.loads([next(lines), next(lines)][1].removeprefix("data: "))
    path = f"/v1/responses/{first['response']['id']}"
    rest = http.get(path, params={"stream": "true", "starting_after": 2}).text
    numbers = [
        json.loads(line.removeprefix("data: "))["sequence_number"]
        for line in rest.splitlines()
        if line.startswith("data: ")
    ]
    assert numbers == list(range(3, 3 + len(numbers)))
    assert '"status":"incomplete"' in rest.splitlines()[-2]
    wait_for(lambda: http.get(path).json()["status"] == "incomplete", 5)
    assert http.get(path, params={"stream": "true"}).status_code == 400


@pytest.mark.slow
def test_a_killed_service_s_background_response_has_failed(tmp_path: Any) -> None:
    data = {"APHRODITE_DATA_DIR": str(tmp_path / "data")}
    with running(None, **data) as service, client(service) as sdk:
        made = sdk.responses.create(model="demo", background=True, **ENDLESS)
        wait_for(lambda: sdk.responses.retrieve(made.id).status == "in_progress", 10)
        service.process.kill()
        service.process.wait()
    with running(None, **data) as service, client(service) as sdk:
        found = sdk.responses.retrieve(made.id)
        assert found.status == "failed" and found.error is not None and "ended" in found.error.message
        other = sdk.responses.create(model="demo", background=True, **{**ENDLESS, "max_output_tokens": 300})
        assert service.terminate(60) == 0, "a drain lets it end"
        assert "Traceback" not in service.log
    with running(None, **data) as service, client(service) as sdk:
        assert sdk.responses.retrieve(other.id).status in ("incomplete", "failed")


def client(service: Running) -> openai.OpenAI:
    return openai.OpenAI(base_url=service.url + "/v1", api_key="none", max_retries=0)


@pytest.mark.slow
def test_a_killed_engine_fails_the_stream_and_the_background() -> None:
    with running() as service, client(service) as sdk, service.client() as http:
        behind = sdk.responses.create(model="demo", background=True, **ENDLESS)
        asked = {"model": "demo", "input": STORY, "stream": True, "ignore_eos": True, "max_output_tokens": 1900}
        with http.stream("POST", "/v1/responses", json=asked) as stream:
            text = []
            for line in stream.iter_lines():
                text.append(line)
                if len(text) == 60:
                    os.kill(service.engine_pid(), signal.SIGKILL)
        error, failed = events_of("\n".join(text))[-2:]
        assert error["type"] == "error" and error["code"] == "engine_lost"
        assert failed["type"] == "response.failed" and failed["response"]["error"]["code"] == "server_error"
        assert sdk.responses.retrieve(failed["response"]["id"]).status == "failed"
        assert wait_for(lambda: ended(sdk, behind), 10).status == "failed"


# ---- what is refused


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
