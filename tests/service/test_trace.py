"""What each stage of sampling did, over the endpoint: one shape on every route, whole, streamed and in batches."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import httpx2
import openai
import pytest

from tests.service.openapi_schema import Document, events
from tests.service.running import wait_for

CHAT, COMPLETIONS, OWN = "/v1/chat/completions", "/v1/completions", "/generate"
STORY = [{"role": "user", "content": "Tell me a story about a fox named Pip."}]
#: Steps that truncate, reshape and toss.
SAMPLING = {"seed": 7, "temperature": 1.5, "top_p": 0.9, "xtc_probability": 0.5, "n": 2, "trace": 3}
ASKED: dict[str, dict[str, Any]] = {
    CHAT: {"model": "demo", "messages": STORY, "max_tokens": 6, "return_token_ids": True, **SAMPLING},
    COMPLETIONS: {"model": "demo", "prompt": "Once upon", "max_tokens": 6, "return_token_ids": True, **SAMPLING},
}
#: The same in the engine's own terms.
OWN_TERMS: dict[str, dict[str, Any]] = {
    CHAT: {"messages": STORY, "max_tokens": 6, **SAMPLING},
    COMPLETIONS: {"prompt": "Once upon", "max_tokens": 6, **SAMPLING},
}
Told = dict[int, dict[str, Any]]


def whole(http: httpx2.Client, route: str) -> Told:
    choices = http.post(route, json=ASKED[route]).json()["choices"]
    return {choice["index"]: choice for choice in choices}


def streamed(http: httpx2.Client, route: str) -> Told:
    told: Told = {}
    for event in events(http.post(route, json=ASKED[route] | {"stream": True}).text):
        for choice in event["choices"]:
            found = told.setdefault(choice["index"], {"traces": [], "token_ids": []})
            for name in found:
                found[name] += choice.get(name, [])
    return told


def in_a_batch(http: httpx2.Client, route: str) -> Told:
    lines = [{"custom_id": f"{i}", "method": "POST", "url": route, "body": ASKED[route]} for i in range(3)]
    content = "\n".join(map(json.dumps, lines)).encode()
    file = http.post("/v1/files", files={"file": ("in.jsonl", content)}, data={"purpose": "batch"}).json()
    wanted = {"input_file_id": file["id"], "endpoint": route, "completion_window": "24h"}
    batch = http.post("/v1/batches", json=wanted).json()

    def ended() -> Any:
        found = http.get(f"/v1/batches/{batch['id']}").json()
        return found["status"] == "completed" and found

    output = http.get(f"/v1/files/{wait_for(ended, 60)['output_file_id']}/content").text
    answers = [json.loads(line)["response"]["body"]["choices"] for line in output.splitlines()]
    assert len(answers) == 3 and all(answer == answers[0] for answer in answers)
    return {choice["index"]: choice for choice in answers[0]}


@pytest.mark.parametrize("route", ASKED)
@pytest.mark.parametrize("way", [whole, streamed, in_a_batch])
def test_a_trace_is_the_same_on_every_way(
    http: httpx2.Client, route: str, way: Callable[[httpx2.Client, str], Told]
) -> None:
    expected = http.post(OWN, json=OWN_TERMS[route]).json()["outputs"]
    told = way(http, route)
    assert len(told) == len(expected) == 2
    for output in expected:
        assert told[output["index"]]["token_ids"] == output["token_ids"]
        assert told[output["index"]]["traces"] == output["traces"]


def test_a_trace_says_what_each_stage_did_to_the_drawn_token(http: httpx2.Client) -> None:
    choice = whole(http, CHAT)[0]
    assert len(choice["traces"]) == len(choice["token_ids"]) == 6
    for stages, token_id in zip(choice["traces"], choice["token_ids"], strict=True):
        assert [stage["name"] for stage in stages] == ["model", "temperature", "top_p", "xtc"]
        assert 0 < stages[-1]["coin"] < 1 and "coin" not in stages[0]
        assert [stage["num_possible"] for stage in stages] == sorted((s["num_possible"] for s in stages), reverse=True)
        for stage in stages:
            named = {token["token_id"]: token["probability"] for token in stage["top"]}
            assert named.get(token_id, stage["drawn"]) == stage["drawn"] > 0


def test_a_trace_of_no_candidates_still_says_what_was_drawn(sdk: openai.OpenAI) -> None:
    answer = sdk.completions.create(model="demo", prompt="Once", max_tokens=2, extra_body={"trace": 0})
    traces = (answer.choices[0].model_extra or {})["traces"]
    assert len(traces) == 2 and all(not stage["top"] and stage["drawn"] > 0 for stages in traces for stage in stages)


@pytest.mark.parametrize("route", ASKED)
def test_who_asks_for_no_trace_gets_none(http: httpx2.Client, route: str) -> None:
    asked = {name: value for name, value in ASKED[route].items() if name != "trace"}
    assert all("traces" not in choice for choice in http.post(route, json=asked).json()["choices"])
    assert '"traces"' not in http.post(route, json=asked | {"stream": True}).text


def test_several_prompts_and_the_best_of_several_have_their_own(http: httpx2.Client) -> None:
    fields = {"model": "demo", "prompt": ["One", "Two"], "seed": 1, "max_tokens": 3, "best_of": 3, "trace": 1}
    answer = http.post(COMPLETIONS, json=fields | {"return_token_ids": True, "logprobs": 0}).json()
    for choice in answer["choices"]:
        assert len(choice["traces"]) == len(choice["token_ids"])
        (first, *_) = choice["traces"]
        logprob = choice["logprobs"]["token_logprobs"][0]
        assert first[0]["name"] == "model" and abs(first[0]["drawn"] - 2.718281828**logprob) < 1e-5


def test_a_call_and_a_grammar_are_traced_too(http: httpx2.Client) -> None:
    tool = {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}}}
    fields = ASKED[CHAT] | {"tools": [tool], "tool_choice": "required", "max_tokens": 60, "n": 1}
    (choice,) = http.post(CHAT, json=fields).json()["choices"]
    assert choice["finish_reason"] == "tool_calls" and len(choice["traces"]) == len(choice["token_ids"])
    assert all(stages[1]["name"] == "constraints" for stages in choice["traces"])


@pytest.mark.parametrize(
    ("route", "fields"),
    [
        ("/v1/responses", {"input": "Hi", "max_output_tokens": 4}),
        ("/v1/messages", {"messages": STORY, "max_tokens": 4}),
        (COMPLETIONS, {"prompt": "Once", "echo": True, "max_tokens": 0}),
    ],
)
@pytest.mark.parametrize("count", [0, 3])
def test_a_route_that_cannot_carry_a_trace_refuses_it_by_name(
    http: httpx2.Client, route: str, fields: dict[str, Any], count: int
) -> None:
    answer = http.post(route, json={"model": "demo", "trace": count} | fields)
    error = answer.json()["error"]
    assert answer.status_code == 400 and error["message"].startswith("trace is not")
    assert "param" not in error or error["param"] == "trace"  # Anthropic's errors name no field


@pytest.mark.parametrize("count", [-1, 21, 1.5, True, "3"])
@pytest.mark.parametrize("route", ASKED)
def test_a_wrong_count_is_refused_by_name(http: httpx2.Client, route: str, count: Any) -> None:
    answer = http.post(route, json=ASKED[route] | {"trace": count})
    assert answer.status_code == 400 and answer.json()["error"]["param"] == "trace"


@pytest.mark.parametrize("route", ASKED)
@pytest.mark.parametrize("stream", [False, True])
def test_the_document_describes_it(http: httpx2.Client, route: str, stream: bool) -> None:
    document = Document(http.get("/openapi.json").json())
    document.check_answer("POST", route, http.post(route, json=ASKED[route] | {"stream": stream}))
    schemas = document.document["components"]["schemas"]
    assert "every stage of sampling" in schemas["ChatRequest"]["properties"]["trace"]["description"]
    assert "probability of the token that was drawn" in schemas["Stage"]["properties"]["drawn"]["description"]


# ---- raw and processed


@pytest.mark.parametrize("mode", ["raw", "processed"])
def test_a_drawn_token_has_both_probabilities_whatever_the_mode(sdk: openai.OpenAI, mode: str) -> None:
    extra = {"logprobs_mode": mode, "trace": 0}
    fields: dict[str, Any] = {"model": "demo", "seed": 7, "max_tokens": 6, "temperature": 1.5, "top_p": 0.9}
    chat = sdk.chat.completions.create(messages=STORY, logprobs=True, extra_body=extra, **fields)  # type: ignore[call-overload]
    (choice,) = chat.choices
    for stages, position in zip(choice.model_extra["traces"], choice.logprobs.content, strict=True):
        expected = {"raw": math.log(stages[0]["drawn"]), "processed": math.log(stages[-1]["drawn"])}
        assert position.raw_logprob == pytest.approx(expected["raw"], abs=1e-4)
        assert position.processed_logprob == pytest.approx(expected["processed"], abs=1e-4)
        assert position.logprob == getattr(position, f"{mode}_logprob") and position.entropy >= 0
    text = sdk.completions.create(prompt="Once upon", logprobs=1, extra_body=extra, echo=True, **fields)
    found: Any = text.choices[0].logprobs
    count = len(found.tokens) - 6
    assert found.raw_logprobs[:count] == found.processed_logprobs[:count] == [None] * count
    assert found.token_logprobs[count:] == getattr(found, f"{mode}_logprobs")[count:]
    assert found.raw_logprobs[count:] != found.processed_logprobs[count:]
