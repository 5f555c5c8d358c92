"""The sampling fields of a request are those of the engine: on every route each one acts, or is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import openai
import pytest

from aphrodite.service.anthropic import turns
from aphrodite.service.anthropic.request import MessagesRequest
from aphrodite.service.errors import ApiError
from aphrodite.service.openai import chat
from aphrodite.service.openai.chat import ChatRequest
from aphrodite.service.openai.completions.request import CompletionRequest
from aphrodite.service.openai.responses import request as responses_request
from aphrodite.service.openai.responses.shapes import ResponseRequest
from aphrodite.service.openai.sampling import MAX_TEMPERATURE, SamplingFields, checked, given_fields
from aphrodite.service.routes.generate import GenerateRequest
from aphrodite.service.routes.generate import params_of as params_of_generate
from aphrodite_engine.llm import LLM
from aphrodite_engine.outputs import GenerationResult
from aphrodite_engine.params import RANGES, SamplingParams
from tests.service.sampling_cases import CASES, MESSAGES, PROMPT, fields_of, in_chat_s_words, params_of

#: Each route has a shape of its own for it: a number, or true beside top_logprobs.
FILLED_BY_ROUTES = {"logprobs"}


def test_every_sampling_parameter_of_the_engine_is_a_field_of_a_request() -> None:
    fields = {field.name for field in msgspec.structs.fields(SamplingFields)}
    assert fields == set(SamplingParams.field_names()) - FILLED_BY_ROUTES


def test_the_document_tells_the_engine_s_ranges() -> None:
    properties = msgspec.json.schema(SamplingFields)["$defs"]["SamplingFields"]["properties"]
    for name, allowed in RANGES.items():
        if name in FILLED_BY_ROUTES:
            continue
        told = next(kind for kind in properties[name]["anyOf"] if kind["type"] != "null")
        high = MAX_TEMPERATURE if name == "temperature" else allowed.high
        assert told["exclusiveMinimum" if allowed.above else "minimum"] == allowed.low, name
        assert told["maximum"] == high, name


def test_a_field_that_is_not_given_keeps_the_engine_s_default() -> None:
    assert given_fields(SamplingFields()) == {}
    for field in msgspec.structs.fields(SamplingFields):
        assert field.default is None


def test_fields_arrive_as_they_were_given() -> None:
    given = {"temperature": 0.5, "logit_bias": {"7": -1.5}, "stop": ["a"], "seed": 3, "ignore_eos": False}
    fields = checked(given_fields(msgspec.convert(given, SamplingFields)))
    assert fields == given


@pytest.mark.parametrize("key", ["-1", "01", "1.0", "a", "", "٣", "9999999999", " 1"])
def test_a_key_of_logit_bias_is_a_token_id(key: str) -> None:
    with pytest.raises(ApiError, match="logit_bias"):
        given_fields(SamplingFields(logit_bias={key: 1.0}))


# ---- what each route hands to the engine


def of_chat(fields: dict[str, Any]) -> dict[str, Any]:
    body = {"model": "demo", "messages": MESSAGES, **in_chat_s_words(fields)}
    turn = chat.turn_of(msgspec.convert(body, ChatRequest))
    return {**turn.sampling, "structured_outputs": turn.structured_outputs}


def of_completions(fields: dict[str, Any]) -> dict[str, Any]:
    return msgspec.convert({"model": "demo", "prompt": PROMPT, **fields}, CompletionRequest).params()


def of_generate(fields: dict[str, Any]) -> dict[str, Any]:
    return params_of_generate(msgspec.convert({"prompt": PROMPT, **fields}, GenerateRequest))


def of_responses(fields: dict[str, Any]) -> dict[str, Any]:
    words = {("max_output_tokens" if name == "max_tokens" else name): value for name, value in fields.items()}
    if "logprobs" in words:
        words["top_logprobs"] = words.pop("logprobs")
    return responses_request.sampling_of(msgspec.convert({"model": "demo", "input": PROMPT, **words}, ResponseRequest))


def of_messages(fields: dict[str, Any]) -> dict[str, Any]:
    body = {"model": "demo", "messages": MESSAGES, "max_tokens": 9, **fields}
    return turns.sampling_of(msgspec.convert(body, MessagesRequest))


#: Route -> what becomes of fields, and those that its answer has no place for.
ROUTES: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], set[str]]] = {
    "/v1/chat/completions": (of_chat, set()),
    "/v1/completions": (of_completions, set()),
    "/generate": (of_generate, set()),
    "/v1/responses": (of_responses, {"n", "prompt_logprobs", "trace"}),
    "/v1/messages": (of_messages, {"n", "logprobs", "prompt_logprobs", "trace", "logprobs_mode", "structured_outputs"}),
}


def test_there_is_a_case_for_every_field() -> None:
    assert CASES.keys() == set(SamplingParams.field_names())


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("route", ROUTES)
def test_a_field_reaches_the_engine_or_is_refused_by_name(route: str, name: str) -> None:
    engine_gets, refused = ROUTES[route]
    value, _ = CASES[name]
    given = {name: value, **({"dynatemp_max": 2.0} if name == "dynatemp_min" else {})}
    if name in refused:
        with pytest.raises(ApiError) as caught:
            engine_gets(given)
        assert caught.value.param == name and name in caught.value.message
        return
    got = getattr(params_of(engine_gets(given)), name)
    assert got == getattr(params_of(given), name) != getattr(SamplingParams(), name)


# ---- what it does there


@pytest.fixture(scope="module")
def llm() -> Iterator[LLM]:
    with LLM("demo", kv_cache_memory=2**26) as found:
        yield found


def choices_of(result: GenerationResult) -> list[tuple[list[int], str]]:
    return [(output.token_ids, output.text) for output in result.outputs]


def seen(answer: Any) -> tuple[list[tuple[list[int], str]], str]:
    """Of a chat's or a completion's answer: ids and texts, and the rest of what it says of them."""
    told = json.loads(answer.model_dump_json())
    texts = [choice["text"] if "text" in choice else choice["message"]["content"] for choice in told["choices"]]
    ids = [choice["token_ids"] for choice in told["choices"]]
    return list(zip(ids, texts, strict=True)), json.dumps([told["choices"], told.get("prompt_logprobs")])


@pytest.mark.parametrize("name", CASES)
def test_over_openai_s_own_client_a_field_does_what_it_does_in_the_engine(
    sdk: openai.OpenAI, llm: LLM, name: str
) -> None:
    def ask_chat(fields: dict[str, Any]) -> Any:
        extra = in_chat_s_words(fields) | {"return_token_ids": True}
        return sdk.chat.completions.create(model="demo", messages=MESSAGES, extra_body=extra)  # type: ignore[arg-type]

    def ask_completions(fields: dict[str, Any]) -> Any:
        return sdk.completions.create(model="demo", prompt=PROMPT, extra_body=fields | {"return_token_ids": True})

    given, without = fields_of(name)
    for ask, expected in (
        (ask_chat, llm.chat(MESSAGES, params_of(given))[0]),
        (ask_completions, llm.generate(PROMPT, params_of(given))[0]),
    ):
        texts, all_of_it = seen(ask(given))
        assert texts == choices_of(expected)
        assert all_of_it != seen(ask(without))[1]
