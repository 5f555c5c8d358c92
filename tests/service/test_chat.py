"""`/v1/chat/completions` as its clients use it."""

from __future__ import annotations

import httpx2
import openai
import pytest

from aphrodite_engine.llm import LLM
from aphrodite_engine.params import SamplingParams
from tests.service.running import Running, wait_for

QUESTION = [{"role": "user", "content": "What is 39 + 48?"}]
STORY = [{"role": "user", "content": "Tell me a story about a fox named Pip."}]


def test_an_answer_from_openai_s_own_client(sdk: openai.OpenAI) -> None:
    answer = sdk.chat.completions.create(model="demo", messages=QUESTION, temperature=0)  # type: ignore[arg-type]
    assert answer.choices[0].message.content == "87"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_streamed_and_whole_are_the_same_text_and_that_of_the_engine_here(sdk: openai.OpenAI) -> None:
    whole = sdk.chat.completions.create(model="demo", messages=STORY, seed=7, max_tokens=40)  # type: ignore[arg-type]
    stream = sdk.chat.completions.create(
        model="demo", messages=STORY, seed=7, max_tokens=40, stream=True, stream_options={"include_usage": True}  # type: ignore[arg-type]
    )  # fmt: skip
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None and chunks[-1].usage.completion_tokens == 40
    assert {chunk.id for chunk in chunks} == {chunks[0].id}
    with LLM("demo", kv_cache_memory=2**24) as llm:
        assert llm.chat(STORY, SamplingParams(seed=7, max_tokens=40))[0].text == text


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", 2.1),
        ("top_p", 0),
        ("n", 0),
        ("max_tokens", -1),
        ("seed", 2**63),
        ("top_k", "many"),
        ("min_p", True),
    ],
)
def test_a_field_out_of_range_is_named(http: httpx2.Client, field: str, value: object) -> None:
    answer = http.post("/v1/chat/completions", json={"model": "demo", "messages": QUESTION, field: value})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == field and field in error["message"]
    assert sorted(error) == ["code", "message", "param", "type"]


def test_a_field_nobody_knows_is_named_in_a_header(http: httpx2.Client) -> None:
    answer = http.post(
        "/v1/chat/completions", json={"model": "demo", "messages": QUESTION, "max_tokens": 1, "colour": "red"}
    )
    assert answer.status_code == 200
    assert answer.headers["x-ignored-params"] == "colour"


def test_a_client_that_goes_away_frees_the_engine(service: Running) -> None:
    def running_now() -> int:
        with service.client(headers=service.admin) as client:
            return client.get("/admin/status").json()["models"][0]["stats"]["running"]

    endless = {"model": "demo", "messages": STORY, "ignore_eos": True, "max_tokens": 1900, "stream": True}
    with service.client() as client, client.stream("POST", "/v1/chat/completions", json=endless) as stream:
        lines = stream.iter_lines()  # kept: dropping the generator closes the connection
        next(lines)
        wait_for(lambda: running_now() == 1, 10)
    wait_for(lambda: running_now() == 0, 10)


def test_log_probabilities_of_the_prompt_come_with_a_whole_answer(http: httpx2.Client) -> None:
    ask = {"model": "demo", "messages": QUESTION, "max_tokens": 1, "prompt_logprobs": 2, "return_token_ids": True}
    answer = http.post("/v1/chat/completions", json=ask).json()
    assert len(answer["prompt_logprobs"]) == len(answer["prompt_token_ids"]) and answer["prompt_logprobs"][0] is None
    for token_id, position in zip(answer["prompt_token_ids"][1:], answer["prompt_logprobs"][1:], strict=True):
        assert str(token_id) in position and 2 <= len(position) <= 3
    streamed = http.post("/v1/chat/completions", json=ask | {"stream": True})
    assert streamed.status_code == 400 and streamed.json()["error"]["param"] == "prompt_logprobs"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("audio", {"voice": "alloy", "format": "wav"}),
        ("modalities", ["text", "audio"]),
        ("prediction", {"type": "content", "content": "87"}),
        ("web_search_options", {}),
        ("functions", [{"name": "add"}]),
        ("function_call", "auto"),
        ("service_tier", "priority"),
        ("verbosity", "low"),
        ("chat_template", "{{ messages }}"),
        ("reasoning_effort", "low"),
    ],
)
def test_known_fields_that_would_change_the_answer_are_refused_by_name(
    http: httpx2.Client, field: str, value: object
) -> None:
    answer = http.post("/v1/chat/completions", json={"model": "demo", "messages": QUESTION, field: value})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == field and field in error["message"]


def test_known_fields_that_ask_for_nothing_are_taken(http: httpx2.Client) -> None:
    nothing = {
        "audio": None, "modalities": ["text"], "prediction": None, "functions": None, "service_tier": "default",
        "verbosity": "medium", "reasoning_effort": None, "store": True, "metadata": {"a": "b"}, "user": "ann",
        "safety_identifier": "x", "prompt_cache_key": "y", "tools": None, "tool_choice": None, "stream": None,
        "response_format": None, "parallel_tool_calls": None, "logit_bias": None, "stop": None, "n": None,
    }  # fmt: skip
    answer = http.post("/v1/chat/completions", json={"model": "demo", "messages": QUESTION, "temperature": 0} | nothing)
    assert answer.status_code == 200 and "x-ignored-params" not in answer.headers
    message = answer.json()["choices"][0]["message"]
    assert message == {"role": "assistant", "content": "87", "refusal": None, "annotations": []}
