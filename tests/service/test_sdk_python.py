"""A user's journey with OpenAI's own client for Python: what a notebook does on its first day with the service."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from pydantic import BaseModel

from tests.client.scripted import answer, error, scripted
from tests.service.running import Running, wait_for
from tests.service.teammates import new_key

QUESTION: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is 39 + 48?"}]
STORY: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Tell me a story about a fox named Pip."}]
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 12}, "unit": {"enum": ["celsius", "fahrenheit"]}},
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
    },
}
ASK_WEATHER: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is the weather in Oslo?"}]
MODELS = b'{"object":"list","data":[{"id":"demo","object":"model","created":1,"owned_by":"a"}]}'


class Person(BaseModel):
    """What the model is to fill in."""

    name: str
    age: int


# ---- chat


def test_models(sdk: openai.OpenAI) -> None:
    assert [model.id for model in sdk.models.list()] == ["demo"]
    assert sdk.models.retrieve("demo").object == "model"


def test_chat_with_all_that_can_be_set(sdk: openai.OpenAI) -> None:
    fields: dict[str, Any] = {
        "model": "demo", "messages": STORY, "max_completion_tokens": 30, "n": 2, "seed": 7, "temperature": 0.9,
        "top_p": 0.95, "stop": ["THE END"], "frequency_penalty": 0.1, "presence_penalty": 0.1, "logprobs": True,
        "top_logprobs": 3, "logit_bias": {"30": -5}, "user": "dana", "metadata": {"run": "1"},
        "extra_body": {"top_k": 50, "min_p": 0.01, "repetition_penalty": 1.1},
    }  # fmt: skip
    first, again = (sdk.chat.completions.create(**fields) for _ in range(2))
    assert len(first.choices) == 2
    assert [choice.message.content for choice in first.choices] == [choice.message.content for choice in again.choices]
    assert first.system_fingerprint == again.system_fingerprint
    logprobs = first.choices[0].logprobs
    assert logprobs is not None and logprobs.content is not None
    for position in logprobs.content:
        assert len(position.top_logprobs) == 3 and position.logprob <= 0
        assert bytes(position.bytes or []).decode(errors="ignore") in position.token


def test_a_stream_with_usage(sdk: openai.OpenAI) -> None:
    with sdk.chat.completions.create(
        model="demo", messages=QUESTION, temperature=0, stream=True, stream_options={"include_usage": True}
    ) as stream:
        chunks = list(stream)
    assert "".join(c.delta.content or "" for chunk in chunks for c in chunk.choices) == "87"
    assert [c.finish_reason for chunk in chunks for c in chunk.choices][-1] == "stop"
    assert chunks[-1].choices == [] and chunks[-1].usage is not None and chunks[-1].usage.prompt_tokens > 0


def test_the_sdk_s_own_stream_helper(sdk: openai.OpenAI) -> None:
    with sdk.chat.completions.stream(model="demo", messages=QUESTION, temperature=0) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert final.choices[0].message.content == "87"


def test_a_stream_that_is_left_early_ends_in_the_engine(sdk: openai.OpenAI, service: Running) -> None:
    endless: dict[str, Any] = {"ignore_eos": True}
    with sdk.chat.completions.create(
        model="demo", messages=STORY, max_tokens=1900, stream=True, extra_body=endless
    ) as stream:
        next(iter(stream))
    with service.client(headers=service.admin) as http:
        wait_for(lambda: http.get("/admin/status").json()["models"][0]["stats"]["running"] == 0, 10)


def test_headers_of_the_raw_answer(sdk: openai.OpenAI) -> None:
    raw = sdk.chat.completions.with_raw_response.create(
        model="demo", messages=QUESTION, max_tokens=1, extra_headers={"x-request-id": "my-request-1"}
    )
    assert raw.headers["x-request-id"] == "my-request-1"
    assert int(raw.headers["openai-processing-ms"]) >= 0
    assert raw.headers["content-type"] == "application/json"
    assert raw.parse()._request_id == "my-request-1"


# ---- tools and structure


def test_a_tool_is_called_and_its_result_is_read(sdk: openai.OpenAI) -> None:
    first = sdk.chat.completions.create(
        model="demo", messages=ASK_WEATHER, tools=[WEATHER], tool_choice="required", temperature=0, max_tokens=200
    )
    choice = first.choices[0]
    assert choice.finish_reason == "tool_calls" and choice.message.tool_calls
    (call,) = choice.message.tool_calls
    assert call.type == "function" and call.function.name == "get_weather"
    arguments = json.loads(call.function.arguments)
    assert arguments.keys() == {"city", "unit"} and arguments["unit"] in ("celsius", "fahrenheit")
    talk: list[Any] = [
        *ASK_WEATHER,
        choice.message,
        {"role": "tool", "tool_call_id": call.id, "content": '{"temperature": 4}'},
    ]
    second = sdk.chat.completions.create(
        model="demo", messages=talk, tools=[WEATHER], tool_choice="none", max_tokens=40
    )
    assert second.choices[0].message.tool_calls is None and second.choices[0].message.content


def test_a_tool_call_in_pieces(sdk: openai.OpenAI) -> None:
    with sdk.chat.completions.stream(
        model="demo", messages=ASK_WEATHER, tools=[WEATHER], max_tokens=200, temperature=0,
        tool_choice={"type": "function", "function": {"name": "get_weather"}},
    ) as stream:  # fmt: skip
        kinds = [event.type for event in stream]
        message = stream.get_final_completion().choices[0].message
    assert "tool_calls.function.arguments.delta" in kinds
    assert message.tool_calls is not None
    assert json.loads(message.tool_calls[0].function.arguments).keys() == {"city", "unit"}


def test_an_answer_in_a_shape(sdk: openai.OpenAI) -> None:
    talk: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Fill in: Mara is 31 years old."}]
    parsed = sdk.chat.completions.parse(
        model="demo", messages=talk, response_format=Person, temperature=0, max_tokens=100
    )
    assert isinstance(parsed.choices[0].message.parsed, Person)
    any_object = sdk.chat.completions.create(
        model="demo", messages=talk, response_format={"type": "json_object"}, temperature=0, max_tokens=200
    )
    if any_object.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(any_object.choices[0].message.content or ""), dict)
    chosen = sdk.chat.completions.create(
        model="demo", messages=talk, extra_body={"structured_outputs": {"choice": ["yes", "no"]}}
    )
    assert chosen.choices[0].message.content in ("yes", "no")


# ---- the other routes


def test_completions(sdk: openai.OpenAI) -> None:
    answers = sdk.completions.create(model="demo", prompt=["Once", "Twice"], max_tokens=5, seed=1, logprobs=2)
    assert [choice.index for choice in answers.choices] == [0, 1]
    assert all(len(choice.logprobs.token_logprobs or ()) == 5 for choice in answers.choices if choice.logprobs)


def test_embeddings_as_the_sdk_asks_for_them_and_as_floats(sdk: openai.OpenAI) -> None:
    texts = ["a fox", "a hen"]
    packed = sdk.embeddings.create(model="demo", input=texts)  # base64 underneath
    plain = sdk.embeddings.create(model="demo", input=texts, encoding_format="float")
    assert [item.index for item in packed.data] == [0, 1] and packed.usage.total_tokens > 0
    for one, other in zip(packed.data, plain.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-7)
        assert math.isclose(sum(x * x for x in one.embedding), 1, rel_tol=1e-5)


def test_responses_that_go_on_from_each_other(sdk: openai.OpenAI) -> None:
    first = sdk.responses.create(model="demo", input="What is 39 + 48?", temperature=0, metadata={"lesson": "1"})
    assert (first.status, first.output_text, first.metadata) == ("completed", "87", {"lesson": "1"})
    assert first.usage is not None and first.usage.input_tokens > 0
    second = sdk.responses.create(model="demo", input="And 1 + 1?", previous_response_id=first.id, max_output_tokens=20)
    assert second.previous_response_id == first.id
    assert second.usage is not None and second.usage.input_tokens > first.usage.input_tokens
    assert sdk.responses.retrieve(first.id).output_text == "87"
    assert [item.type for item in sdk.responses.input_items.list(first.id)] == ["message"]
    sdk.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        sdk.responses.retrieve(first.id)


def test_a_response_as_a_stream(sdk: openai.OpenAI) -> None:
    with sdk.responses.stream(model="demo", input="What is 39 + 48?", temperature=0) as stream:
        events = list(stream)
        final = stream.get_final_response()
    kinds = [event.type for event in events]
    assert kinds[0] == "response.created" and kinds[-1] == "response.completed"
    assert {"response.in_progress", "response.output_item.added", "response.output_text.done"} <= set(kinds)
    numbers = [event.sequence_number for event in events]
    assert numbers == sorted(set(numbers))
    assert final.output_text == "87"


def test_a_response_in_a_shape(sdk: openai.OpenAI) -> None:
    parsed = sdk.responses.parse(
        model="demo", input="Fill in: Mara is 31 years old.", text_format=Person, temperature=0, max_output_tokens=100
    )
    assert isinstance(parsed.output_parsed, Person)


def test_a_batch(sdk: openai.OpenAI) -> None:
    lines = [
        {"custom_id": f"q{n}", "method": "POST", "url": "/v1/chat/completions", "body": {
            "model": "demo", "messages": QUESTION, "temperature": 0}}
        for n in range(3)
    ]  # fmt: skip
    data = "\n".join(map(json.dumps, lines)).encode()
    file = sdk.files.create(file=("questions.jsonl", data), purpose="batch")
    assert sdk.files.content(file.id).read() == data
    batch = sdk.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    wait_for(lambda: sdk.batches.retrieve(batch.id).status == "completed", 60)
    assert batch.id in [found.id for found in sdk.batches.list()]
    output = sdk.batches.retrieve(batch.id).output_file_id
    assert output is not None
    answers = [json.loads(line) for line in sdk.files.content(output).text.splitlines()]
    assert {a["custom_id"] for a in answers} == {"q0", "q1", "q2"}
    assert {a["response"]["body"]["choices"][0]["message"]["content"] for a in answers} == {"87"}
    sdk.files.delete(file.id)
    with pytest.raises(openai.NotFoundError):
        sdk.files.retrieve(file.id)


def test_all_of_it_asynchronously(service: Running) -> None:
    async def journey() -> list[str | None]:
        async with openai.AsyncOpenAI(base_url=service.url + "/v1", api_key="none") as sdk:
            chat, response, vectors = await asyncio.gather(
                sdk.chat.completions.create(model="demo", messages=QUESTION, temperature=0),
                sdk.responses.create(model="demo", input="What is 39 + 48?", temperature=0, store=False),
                sdk.embeddings.create(model="demo", input="a fox"),
            )
            assert len(vectors.data) == 1
            stream = await sdk.chat.completions.create(model="demo", messages=QUESTION, temperature=0, stream=True)
            pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
        return [chat.choices[0].message.content, response.output_text, "".join(pieces)]

    assert asyncio.run(journey()) == ["87", "87", "87"]


# ---- what goes wrong


def test_errors_are_the_sdk_s_own_classes(sdk: openai.OpenAI, service: Running) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        sdk.chat.completions.create(model="nobody", messages=QUESTION)
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model") and missing.value.request_id
    with pytest.raises(openai.BadRequestError) as wrong:
        sdk.chat.completions.create(model="demo", messages=QUESTION, temperature=2.5)
    assert wrong.value.param == "temperature"
    with pytest.raises(openai.BadRequestError) as long:
        sdk.chat.completions.create(model="demo", messages=[{"role": "user", "content": "fox " * 3000}])
    assert long.value.code == "context_length_exceeded"
    with pytest.raises(openai.AuthenticationError):
        sdk.with_options(api_key="aph_" + "0" * 40).models.list()
    with pytest.raises(openai.NotFoundError):
        sdk.images.generate(model="demo", prompt="a fox")
    key = new_key(service, requests_per_minute=1)
    limited = sdk.with_options(api_key=key)
    limited.chat.completions.create(model="demo", messages=QUESTION, max_tokens=1)
    with pytest.raises(openai.RateLimitError) as many:
        limited.chat.completions.create(model="demo", messages=QUESTION, max_tokens=1)
    assert int(many.value.response.headers["retry-after"]) > 0


def test_a_timeout_of_the_sdk_frees_the_engine(sdk: openai.OpenAI, service: Running) -> None:
    with pytest.raises(openai.APITimeoutError):
        sdk.with_options(timeout=0.2).chat.completions.create(
            model="demo", messages=STORY, max_tokens=1900, extra_body={"ignore_eos": True}
        )
    with service.client(headers=service.admin) as http:
        wait_for(lambda: http.get("/admin/status").json()["models"][0]["stats"]["running"] == 0, 10)


def test_the_sdk_s_retries_obey_retry_after() -> None:
    with scripted(
        [error("429 Many", retry_after="1")], [error("503 Away", retry_after="0")], [answer(MODELS)]
    ) as server:
        with openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=2) as sdk:
            assert [model.id for model in sdk.models.list()] == ["demo"]
        assert len(server.requests) == 3


def test_the_sdk_s_retry_under_an_idempotency_key_does_not_work_twice(sdk: openai.OpenAI) -> None:
    answers = [
        sdk.chat.completions.create(
            model="demo", messages=STORY, max_tokens=5, extra_headers={"idempotency-key": "a-retry-of-the-sdk"}
        )
        for _ in range(2)
    ]
    assert answers[0].id == answers[1].id
