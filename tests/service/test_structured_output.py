"""Structured output over the endpoint, with OpenAI's own client."""

from __future__ import annotations

import json
import re
from typing import Any, Literal

import httpx2
import jsonschema
import openai
import pytest
from openai.types.chat import ChatCompletion
from pydantic import BaseModel

from aphrodite_engine.llm import LLM
from aphrodite_engine.params import SamplingParams

ANN: list[Any] = [{"role": "user", "content": "Fill in: Ann is 33 years old and likes red."}]


class Person(BaseModel):
    name: str
    age: int
    color: Literal["red", "blue"]


class Group(BaseModel):
    leader: Person
    size: Literal[1, 2, 3]


SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 15},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}


def json_schema(schema: dict[str, Any], **more: Any) -> Any:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, **more}}


def text_of(completion: ChatCompletion) -> str:
    assert completion.choices[0].finish_reason == "stop"
    return completion.choices[0].message.content or ""


@pytest.mark.parametrize("kind", [Person, Group])
def test_pydantic_models_are_parsed(sdk: openai.OpenAI, kind: type[BaseModel]) -> None:
    completion = sdk.chat.completions.parse(model="demo", messages=ANN, response_format=kind, seed=1, max_tokens=300)
    message = completion.choices[0].message
    assert isinstance(message.parsed, kind) and message.refusal is None


@pytest.mark.parametrize("strict", [True, False, None])
@pytest.mark.parametrize("temperature", [0, 1.5])
def test_a_schema_is_followed(sdk: openai.OpenAI, strict: bool | None, temperature: float) -> None:
    completion = sdk.chat.completions.create(
        model="demo", messages=ANN, response_format=json_schema(SCHEMA, strict=strict), temperature=temperature,
        seed=1, n=4, max_tokens=100,
    )  # fmt: skip
    for choice in completion.choices:
        assert choice.finish_reason == "stop" and choice.message.refusal is None
        jsonschema.validate(json.loads(choice.message.content or ""), SCHEMA)


def test_streamed_and_whole_are_the_same_text(sdk: openai.OpenAI) -> None:
    ask: dict[str, Any] = {
        "model": "demo", "messages": ANN, "response_format": json_schema(SCHEMA), "seed": 3, "max_tokens": 100
    }  # fmt: skip
    whole = text_of(sdk.chat.completions.create(**ask))
    with sdk.chat.completions.stream(**ask) as stream:
        streamed = text_of(stream.get_final_completion())
    assert streamed == whole


def test_the_endpoint_gives_the_text_that_the_engine_gives(sdk: openai.OpenAI) -> None:
    completion = sdk.chat.completions.create(
        model="demo", messages=ANN, response_format=json_schema(SCHEMA), seed=4, max_tokens=100
    )
    with LLM("demo", kv_cache_memory=2**24) as llm:
        params = SamplingParams(seed=4, max_tokens=100, structured_outputs={"json": SCHEMA})
        assert llm.chat(ANN, params)[0].text == text_of(completion)


def test_json_object_is_any_object(sdk: openai.OpenAI) -> None:
    completion = sdk.chat.completions.create(
        model="demo", messages=ANN, response_format={"type": "json_object"}, seed=2, max_tokens=200
    )
    assert isinstance(json.loads(text_of(completion)), dict)


def test_text_is_no_form_at_all(sdk: openai.OpenAI) -> None:
    ask: dict[str, Any] = {"model": "demo", "messages": ANN, "seed": 1, "max_tokens": 20}
    free = sdk.chat.completions.create(**ask)
    text = sdk.chat.completions.create(**ask, response_format={"type": "text"})
    assert free.choices[0].message.content == text.choices[0].message.content


@pytest.mark.parametrize(
    ("extension", "pattern"),
    [
        ({"structured_outputs": {"regex": "[a-c]{3}-[0-9]"}}, "[a-c]{3}-[0-9]"),
        ({"structured_outputs": {"choice": ["yes", "no"]}}, "yes|no"),
        ({"structured_outputs": {"grammar": 'root ::= "q" ("r" | "s")'}}, "q[rs]"),
        ({"structured_outputs": {"grammar": 'start: "q" /[rs]/'}}, "q[rs]"),
        ({"structured_outputs": {"json": {"type": "integer", "minimum": 0, "maximum": 9}}}, "[0-9]"),
        ({"structured_outputs": {"json": '{"enum": [7]}'}}, "7"),
        ({"structured_outputs": {"json_object": True}}, r"(?s)\{.*\}"),
        ({"guided_regex": "[a-c]{3}"}, "[a-c]{3}"),
        ({"guided_choice": ["yes", "no"]}, "yes|no"),
        ({"guided_grammar": 'root ::= "q"'}, "q"),
        ({"guided_json": {"const": 5}}, "5"),
    ],
    ids=str,
)
def test_extensions_are_followed(sdk: openai.OpenAI, extension: dict[str, Any], pattern: str) -> None:
    completion = sdk.chat.completions.create(
        model="demo", messages=ANN, extra_body=extension, seed=1, max_tokens=200, stop=None
    )
    assert re.fullmatch(pattern, text_of(completion))


def test_completions_take_structured_outputs_too(sdk: openai.OpenAI) -> None:
    completion = sdk.completions.create(
        model="demo", prompt="Is it? ", extra_body={"structured_outputs": {"choice": ["yes", "no"]}}, max_tokens=9
    )
    assert completion.choices[0].text in ("yes", "no") and completion.choices[0].finish_reason == "stop"


def test_json_that_the_token_limit_cuts_says_length(sdk: openai.OpenAI) -> None:
    completion = sdk.chat.completions.create(
        model="demo", messages=ANN, response_format=json_schema(SCHEMA), max_tokens=3
    )
    assert completion.choices[0].finish_reason == "length"
    with pytest.raises(openai.LengthFinishReasonError):
        sdk.chat.completions.parse(model="demo", messages=ANN, response_format=Person, max_tokens=3)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}},
            "response_format.json_schema.schema",
        ),
        ({"response_format": json_schema(SCHEMA), "guided_regex": "a"}, "guided_regex"),
        ({"response_format": {"type": "json_object"}, "structured_outputs": {"regex": "a"}}, "response_format"),
        ({"structured_outputs": {"regex": "a", "choice": ["b"]}}, "structured_outputs"),
        ({"structured_outputs": {"yaml": "a"}}, "structured_outputs"),
        ({"structured_outputs": {"regex": "("}}, "structured_outputs.regex"),
        ({"guided_regex": "("}, "guided_regex"),
        ({"guided_choice": []}, "guided_choice"),
        ({"response_format": json_schema({"type": "text"})}, "response_format.json_schema.schema.type"),
        ({"response_format": json_schema({"not": {}})}, "response_format"),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_followed_is_refused_by_name(http: httpx2.Client, fields: dict[str, Any], param: str) -> None:
    answer = http.post("/v1/chat/completions", json={"model": "demo", "messages": ANN, "max_tokens": 5} | fields)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == param and param in error["message"]
