"""Tools over the endpoint, with OpenAI's own client; and how other models write calls."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import jsonschema
import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionMessageFunctionToolCall
from tokenizers import AddedToken, Tokenizer

from tests.engine.tiny import write_tiny_llama
from tests.service.running import Running

WEATHER: dict[str, Any] = {
    "name": "get_weather",
    "description": "The weather of a city",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 12}, "unit": {"enum": ["C", "F"]}},
        "required": ["city", "unit"],
    },
}
ADD: dict[str, Any] = {
    "name": "add",
    "parameters": {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/n"}, "b": {"$ref": "#/$defs/n"}},
        "required": ["a", "b"],
        "$defs": {"n": {"type": "integer", "minimum": 0, "maximum": 99}},
    },
}
NOW: dict[str, Any] = {"name": "now"}
SCHEMAS = {tool["name"]: tool.get("parameters", {"type": "object", "maxProperties": 0}) for tool in (WEATHER, ADD, NOW)}
QUESTION: list[Any] = [{"role": "user", "content": "What is the weather in Oslo?"}]


def function(tool: dict[str, Any], **more: Any) -> Any:
    return {"type": "function", "function": tool | more}


TOOLS = [function(WEATHER), function(ADD), function(NOW)]


def calls_of(completion: ChatCompletion) -> list[tuple[str, Any]]:
    """Names and arguments, once they are seen to follow their schemas."""
    found = []
    for call in completion.choices[0].message.tool_calls or []:
        assert isinstance(call, ChatCompletionMessageFunctionToolCall) and call.id
        arguments = json.loads(call.function.arguments)
        jsonschema.validate(arguments, SCHEMAS[call.function.name])
        found.append((call.function.name, arguments))
    return found


@pytest.mark.parametrize("parallel", [True, False])
@pytest.mark.parametrize("temperature", [0, 1, 1.8])
def test_a_required_call_always_fits_its_schema(sdk: openai.OpenAI, temperature: float, parallel: bool) -> None:
    for seed in range(4):
        completion = sdk.chat.completions.create(
            model="demo", messages=QUESTION, tools=TOOLS, tool_choice="required", temperature=temperature, seed=seed,
            max_tokens=400, parallel_tool_calls=parallel,
        )  # fmt: skip
        choice = completion.choices[0]
        if choice.finish_reason == "length":
            assert parallel  # a weak model may call on and on
            continue
        calls = calls_of(completion)
        assert choice.finish_reason == "tool_calls" and choice.message.content is None
        assert len(calls) == 1 or (parallel and calls)


@pytest.mark.parametrize("name", ["get_weather", "add", "now"])
def test_a_named_function_is_the_one_that_is_called(sdk: openai.OpenAI, name: str) -> None:
    completion = sdk.chat.completions.create(
        model="demo", messages=QUESTION, tools=TOOLS, seed=1, max_tokens=200, parallel_tool_calls=False,
        tool_choice={"type": "function", "function": {"name": name}},
    )  # fmt: skip
    assert [called for called, _ in calls_of(completion)] == [name]
    assert completion.choices[0].finish_reason == "tool_calls"


def test_a_stream_tells_id_and_name_first_and_arguments_in_pieces(sdk: openai.OpenAI) -> None:
    ask: dict[str, Any] = {
        "model": "demo", "messages": QUESTION, "tools": TOOLS, "tool_choice": "required", "temperature": 0,
        "parallel_tool_calls": False, "max_tokens": 200,
    }  # fmt: skip
    whole = calls_of(sdk.chat.completions.create(**ask))
    chunks = list(sdk.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant"
    pieces = [call for chunk in chunks if chunk.choices for call in chunk.choices[0].delta.tool_calls or []]
    first = pieces[0]
    assert first.function and first.id and first.type == "function" and first.function.name and first.index == 0
    assert all(p.id is None and p.index == 0 and p.function and p.function.name is None for p in pieces[1:])
    assert len(pieces) > 2
    arguments = "".join(p.function.arguments or "" for p in pieces if p.function)
    assert [(first.function.name, json.loads(arguments))] == whole
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == ["tool_calls"]
    assert chunks[-1].usage and chunks[-1].choices == []


def test_the_sdk_s_own_stream_helper_builds_the_same_call(sdk: openai.OpenAI) -> None:
    with sdk.chat.completions.stream(
        model="demo", messages=QUESTION, tools=TOOLS, tool_choice="required", seed=2, max_tokens=300,
        parallel_tool_calls=False,
    ) as stream:  # fmt: skip
        assert len(calls_of(stream.get_final_completion())) == 1


def test_the_model_may_call_and_text_before_a_call_is_content(http: httpx2.Client, sdk: openai.OpenAI) -> None:
    for seed in range(6):
        completion = sdk.chat.completions.create(
            model="demo", messages=QUESTION, tools=TOOLS, seed=seed, max_tokens=120, temperature=0.7
        )
        choice = completion.choices[0]
        assert (
            choice.finish_reason == "tool_calls"
            or choice.message.tool_calls is None
            or (choice.finish_reason == "length")
        )
        assert choice.message.content or choice.message.tool_calls


def test_strict_tools_are_followed_where_the_model_may_choose(sdk: openai.OpenAI) -> None:
    tools = [function(WEATHER, strict=True), function(ADD, strict=True)]
    called = 0
    for seed in range(8):
        completion = sdk.chat.completions.create(
            model="demo", messages=QUESTION, tools=tools, seed=seed, max_tokens=200, temperature=0.7
        )
        if completion.choices[0].finish_reason == "tool_calls":
            called += len(calls_of(completion))
    assert called


def test_one_call_at_most_where_parallel_calls_are_off(sdk: openai.OpenAI) -> None:
    for seed in range(6):
        completion = sdk.chat.completions.create(
            model="demo", messages=QUESTION, tools=TOOLS, seed=seed, max_tokens=200, parallel_tool_calls=False
        )
        assert len(completion.choices[0].message.tool_calls or []) <= 1


def test_none_is_as_if_there_were_no_tools(sdk: openai.OpenAI) -> None:
    ask: dict[str, Any] = {"model": "demo", "messages": QUESTION, "seed": 5, "max_tokens": 30}
    none = sdk.chat.completions.create(**ask, tools=TOOLS, tool_choice="none")
    assert none.choices[0].message.tool_calls is None
    assert none.choices[0].message.content == sdk.chat.completions.create(**ask).choices[0].message.content


def test_a_call_that_the_token_limit_cuts_says_length(sdk: openai.OpenAI) -> None:
    completion = sdk.chat.completions.create(
        model="demo", messages=QUESTION, tools=TOOLS, tool_choice="required", max_tokens=8
    )
    assert completion.choices[0].finish_reason == "length"


def test_a_whole_round_with_the_tool_s_answer(sdk: openai.OpenAI) -> None:
    ask: dict[str, Any] = {"model": "demo", "tools": TOOLS, "temperature": 0, "max_tokens": 120}
    first = sdk.chat.completions.create(
        **ask, messages=QUESTION, tool_choice={"type": "function", "function": {"name": "get_weather"}},
        parallel_tool_calls=False,
    )  # fmt: skip
    message = first.choices[0].message
    assert message.tool_calls
    answer = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": [{"type": "text", "text": "21 C"}]}
    messages = [{"role": "developer", "content": "Be brief."}, *QUESTION, message.to_dict(), answer]
    second = sdk.chat.completions.create(**ask, messages=messages)
    assert second.choices[0].finish_reason in ("stop", "tool_calls", "length")
    assert second.usage and first.usage and second.usage.prompt_tokens > first.usage.prompt_tokens


def test_tools_and_a_schema_together_give_calls_or_the_schema(sdk: openai.OpenAI) -> None:
    schema = {"type": "object", "properties": {"answer": {"type": "integer"}}, "required": ["answer"]}
    form: Any = {
        "type": "json_schema",
        "json_schema": {"name": "a", "schema": schema | {"additionalProperties": False}},
    }
    for seed in range(6):
        completion = sdk.chat.completions.create(
            model="demo", messages=QUESTION, tools=TOOLS, response_format=form, seed=seed, max_tokens=300
        )
        choice = completion.choices[0]
        if choice.finish_reason == "tool_calls":
            calls_of(completion)
        elif choice.finish_reason == "stop":
            jsonschema.validate(json.loads(choice.message.content or ""), schema)


def test_several_answers_call_each_on_its_own(sdk: openai.OpenAI) -> None:
    completion = sdk.chat.completions.create(
        model="demo", messages=QUESTION, tools=TOOLS, tool_choice="required", n=3, seed=1, max_tokens=200,
        parallel_tool_calls=False,
    )  # fmt: skip
    ids = [choice.message.tool_calls[0].id for choice in completion.choices if choice.message.tool_calls]
    assert len(set(ids)) == 3


# ---- other models' ways

THINKING = "{% if think is defined %}<think>\n{% endif %}"
PLAIN_TEMPLATE = "<s>{% for m in messages %}{{ m['content'] }}{% endfor %}"
TEMPLATES = {
    "llama": PLAIN_TEMPLATE + '{# Environment: ipython {"name": function name, "parameters": dictionary} #}',
    "mistral": PLAIN_TEMPLATE + "{# [TOOL_CALLS] #}",
    "nothing-known": PLAIN_TEMPLATE,
    "hermes": PLAIN_TEMPLATE + "{# <tool_call> #}",
    "thinker": PLAIN_TEMPLATE + "{# <tool_call> #}{{ reasoning_effort }}" + THINKING + "{# <think></think> #}",
}


def _folder(root: Path, name: str) -> Path:
    """Random bytes; marks are tokens as such models have them, special ones for Mistral."""
    folder = write_tiny_llama(root / name, chat_template=TEMPLATES[name], vocab_size=272, max_position_embeddings=512)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_special_tokens([AddedToken("[TOOL_CALLS]", special=True)])
    if name != "hermes":  # there, a mark is many tokens
        tokenizer.add_tokens([AddedToken(text) for text in ("<tool_call>", "</tool_call>", "<think>", "</think>")])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="module")
def model(request: pytest.FixtureRequest, service: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    name: str = request.param
    folder = _folder(tmp_path_factory.mktemp("models"), name)
    with service.client(headers=service.admin) as client:
        wanted = {"model": str(folder), "names": [name], "engine": {"kv_cache_memory": 2**22}}
        loaded = client.post("/admin/load", json=wanted)
        assert loaded.status_code == 200, loaded.text
        yield name
        client.post("/admin/unload", json={"model": name})


@pytest.mark.parametrize("model", ["llama", "mistral", "nothing-known", "hermes", "thinker"], indirect=True)
def test_forced_calls_fit_their_schema_in_every_form(sdk: openai.OpenAI, model: str) -> None:
    for parallel in (False, True):
        for seed in range(3):
            completion = sdk.chat.completions.create(
                model=model, messages=QUESTION, tools=[function(ADD), function(NOW)], tool_choice="required",
                seed=seed, max_tokens=300, parallel_tool_calls=parallel,
            )  # fmt: skip
            if completion.choices[0].finish_reason == "tool_calls":
                assert len(calls_of(completion)) == 1 or parallel
            else:
                assert parallel and completion.choices[0].finish_reason == "length"


@pytest.mark.parametrize("model", ["mistral", "hermes", "llama"], indirect=True)
def test_strict_tools_in_every_form(sdk: openai.OpenAI, model: str) -> None:
    for seed in range(4):
        completion = sdk.chat.completions.create(
            model=model, messages=QUESTION, tools=[function(NOW, strict=True)], seed=seed, max_tokens=100
        )
        if completion.choices[0].finish_reason == "tool_calls":
            calls_of(completion)


@pytest.mark.parametrize("model", ["nothing-known"], indirect=True)
def test_where_no_way_to_call_is_known_the_model_is_not_asked_to_choose(sdk: openai.OpenAI, model: str) -> None:
    with pytest.raises(openai.BadRequestError, match=r"Hermes and Qwen.*tool_choice='required' or a function's name"):
        sdk.chat.completions.create(model=model, messages=QUESTION, tools=TOOLS)
    sdk.chat.completions.create(model=model, messages=QUESTION, tools=TOOLS, tool_choice="none", max_tokens=1)


@pytest.mark.parametrize("model", ["thinker"], indirect=True)
class TestThoughts:
    """A model that thinks: its thought is no part of the answer."""

    def ask(self, sdk: openai.OpenAI, model: str, **more: Any) -> ChatCompletion:
        soon = {"logit_bias": {"264": 5.0}}  # </think>
        more["extra_body"] = soon | {"chat_template_kwargs": {"think": True}} | more.get("extra_body", {})
        return sdk.chat.completions.create(
            **{"model": model, "messages": QUESTION, "seed": 1, "max_tokens": 200} | more
        )

    def test_a_thought_comes_as_reasoning_and_its_tokens_are_counted(self, sdk: openai.OpenAI, model: str) -> None:
        completion = self.ask(sdk, model)
        message: Any = completion.choices[0].message
        assert message.reasoning_content == message.reasoning and message.reasoning
        assert "</think>" not in message.reasoning
        details = completion.usage and completion.usage.completion_tokens_details
        assert details and completion.usage and details.reasoning_tokens
        assert 0 < details.reasoning_tokens <= completion.usage.completion_tokens

    def test_a_stream_tells_the_same(self, sdk: openai.OpenAI, model: str) -> None:
        whole: Any = self.ask(sdk, model).choices[0].message
        deltas: list[Any] = [chunk.choices[0].delta for chunk in self.ask(sdk, model, stream=True)]  # type: ignore[attr-defined]
        assert "".join(getattr(d, "reasoning_content", "") for d in deltas) == whole.reasoning_content
        assert "".join(d.content or "" for d in deltas) == (whole.content or "")

    def test_what_must_be_followed_begins_after_the_thought(self, sdk: openai.OpenAI, model: str) -> None:
        followed = {"structured_outputs": {"choice": ["yes", "no"]}}
        for thinks in ({}, {"chat_template_kwargs": {}}):
            message: Any = self.ask(sdk, model, extra_body=followed | thinks).choices[0].message
            assert message.content in ("yes", "no")

    def test_calls_come_after_the_thought(self, sdk: openai.OpenAI, model: str) -> None:
        completion = self.ask(sdk, model, tools=[function(NOW)], tool_choice="required", parallel_tool_calls=False)
        message: Any = completion.choices[0].message
        assert [name for name, _ in calls_of(completion)] == ["now"] and message.reasoning

    def test_effort_is_for_templates_that_know_it(self, sdk: openai.OpenAI, model: str) -> None:
        low, none = (self.ask(sdk, model, max_tokens=1, **more) for more in ({"reasoning_effort": "low"}, {}))
        assert low.usage and none.usage and low.usage.prompt_tokens == none.usage.prompt_tokens + len("low")
        with pytest.raises(openai.BadRequestError, match="reasoning_effort"):
            self.ask(sdk, "demo", reasoning_effort="low", extra_body={"logit_bias": None})
        with pytest.raises(openai.BadRequestError, match="reasoning_effort"):
            self.ask(sdk, model, extra_body={"reasoning_effort": "lots"})
