"""`/v1/completions` as its clients use it."""

from __future__ import annotations

from typing import Any

import httpx2
import openai
import pytest
from openai.types import Completion

from aphrodite_engine.llm import LLM
from aphrodite_engine.params import SamplingParams
from tests.service.running import Running, wait_for

PROMPT = "Once upon a time there was a fox."


@pytest.fixture(scope="module")
def ids(http: httpx2.Client) -> list[int]:
    """PROMPT without a begin token."""
    return http.post("/tokenize", json={"prompt": PROMPT, "add_special_tokens": False}).json()["tokens"]


def complete(http: httpx2.Client, **fields: Any) -> dict[str, Any]:
    answer = http.post("/v1/completions", json={"model": "demo", "prompt": PROMPT, "max_tokens": 8} | fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(http: httpx2.Client, **fields: Any) -> dict[str, Any]:
    answer = http.post("/v1/completions", json={"model": "demo", "prompt": PROMPT, "max_tokens": 8} | fields)
    assert answer.status_code == 400, answer.text
    return answer.json()["error"]


def streamed(sdk: openai.OpenAI, **fields: Any) -> tuple[list[Completion], dict[int, str]]:
    """Every event, and each choice's text."""
    chunks = list(sdk.completions.create(model="demo", stream=True, **fields))
    texts: dict[int, str] = {}
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] = texts.get(choice.index, "") + choice.text
    return chunks, texts


def assert_offsets_point_at_their_tokens(choice: dict[str, Any]) -> None:
    logprobs, text = choice["logprobs"], choice["text"]
    lengths = {len(logprobs[name]) for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset")}
    assert len(lengths) == 1
    assert logprobs["text_offset"] == sorted(logprobs["text_offset"])
    for token, offset in zip(logprobs["tokens"], logprobs["text_offset"], strict=True):
        assert text.startswith(token, offset) or token.startswith(("<|", "bytes:"))


# ---- prompts


def test_a_text_is_continued_as_the_engine_here_continues_it(sdk: openai.OpenAI) -> None:
    answer = sdk.completions.create(model="demo", prompt=PROMPT, seed=7)
    assert answer.object == "text_completion" and answer.id.startswith("cmpl-")
    assert answer.usage is not None and answer.usage.completion_tokens == 16  # OpenAI's default of max_tokens
    assert answer.choices[0].finish_reason == "length"
    with LLM("demo", kv_cache_memory=2**24) as llm:
        assert llm.generate(PROMPT, SamplingParams(seed=7, max_tokens=16))[0].text == answer.choices[0].text


def test_text_and_ids_one_or_many_are_the_same_prompts(http: httpx2.Client) -> None:
    with_begin = http.post("/tokenize", json={"prompt": PROMPT}).json()["tokens"]
    other = http.post("/tokenize", json={"prompt": "Sort: 3 1 2"}).json()["tokens"]
    forms: list[Any] = [PROMPT, [PROMPT], with_begin, [with_begin], [PROMPT, "Sort: 3 1 2"], [with_begin, other]]
    answers = [complete(http, prompt=form, temperature=0) for form in forms]
    assert {answer["choices"][0]["text"] for answer in answers} == {answers[0]["choices"][0]["text"]}
    assert answers[4]["choices"][1]["text"] == answers[5]["choices"][1]["text"]
    assert [len(answer["choices"]) for answer in answers] == [1, 1, 1, 1, 2, 2]
    assert answers[4]["usage"]["prompt_tokens"] == len(with_begin) + len(other)
    assert answers[4]["usage"]["completion_tokens"] <= 16


def test_choices_of_several_prompts_are_numbered_prompt_by_prompt(http: httpx2.Client) -> None:
    answer = complete(http, prompt=["A", "B", "C"], n=2, seed=3, echo=True)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3, 4, 5]
    assert [choice["text"][0] for choice in answer["choices"]] == list("AABBCC")


def test_the_seed_used_is_told_and_gives_the_same_again(http: httpx2.Client) -> None:
    first = complete(http, n=2)
    again = complete(http, n=2, seed=first["seed"])
    assert [c["text"] for c in again["choices"]] == [c["text"] for c in first["choices"]]
    several = complete(http, prompt=[PROMPT, PROMPT])
    assert several["seed"] is None
    assert complete(http, seed=several["choices"][1]["seed"])["choices"][0]["text"] == several["choices"][1]["text"]


def test_an_empty_text_starts_from_the_begin_token(http: httpx2.Client) -> None:
    answer = complete(http, prompt="", return_token_ids=True)
    assert answer["usage"]["prompt_tokens"] == 1
    assert len(answer["choices"][0]["prompt_token_ids"]) == 1


@pytest.mark.parametrize("prompt", [[], [[]], [[1], []], ["a", 1], ["a"] * 1025, [1.5], [True], [[-1]], None, 7, {}])
def test_prompts_of_no_known_form_are_refused_by_name(http: httpx2.Client, prompt: Any) -> None:
    error = refused(http, prompt=prompt)
    assert error["param"].startswith("prompt") and "prompt" in error["message"]


def test_which_of_several_prompts_was_wrong_is_said(http: httpx2.Client) -> None:
    error = refused(http, prompt=[[1, 2], [3, 4096]])
    assert "prompt 1" in error["message"] and "4096" in error["message"]
    error = refused(http, prompt=["short", "long " * 3000])
    assert error["code"] == "context_length_exceeded" and error["param"] == "prompt" and "prompt 1" in error["message"]


def test_sequences_of_one_request_are_bounded(http: httpx2.Client) -> None:
    assert "2,048" in refused(http, prompt=["a"] * 100, n=21)["message"]


# ---- echo and logprobs


def test_echo_gives_the_prompt_back_in_front(http: httpx2.Client, ids: list[int]) -> None:
    plain = complete(http, seed=5)["choices"][0]["text"]
    assert complete(http, seed=5, echo=True)["choices"][0]["text"] == PROMPT + plain
    assert complete(http, prompt=ids, echo=True)["choices"][0]["text"].startswith(PROMPT)


def test_logprobs_hold_the_drawn_token_and_the_likely_ones(http: httpx2.Client) -> None:
    choice = complete(http, logprobs=3, seed=2)["choices"][0]
    logprobs = choice["logprobs"]
    assert "".join(logprobs["tokens"]) == choice["text"]
    assert_offsets_point_at_their_tokens(choice)
    for token, logprob, top in zip(
        logprobs["tokens"], logprobs["token_logprobs"], logprobs["top_logprobs"], strict=True
    ):
        assert top[token] == logprob < 0
        assert len(top) in (3, 4)


def test_logprobs_0_names_the_drawn_token_only(http: httpx2.Client) -> None:
    logprobs = complete(http, logprobs=0)["choices"][0]["logprobs"]
    assert [list(top) for top in logprobs["top_logprobs"]] == [[token] for token in logprobs["tokens"]]


def test_offsets_with_echo_begin_in_the_prompt(http: httpx2.Client) -> None:
    choice = complete(http, echo=True, logprobs=1)["choices"][0]
    assert choice["logprobs"]["token_logprobs"][0] is None and choice["logprobs"]["top_logprobs"][0] is None
    assert choice["logprobs"]["text_offset"][:2] == [0, 0]  # the begin token takes no room
    assert_offsets_point_at_their_tokens(choice)


@pytest.mark.parametrize("text", ["naïve café 🦊🦊 — ok", "中文字符", "e\u0301\u200f\u202e x", "\ufffd a", "a\x00b"])
def test_offsets_count_characters_also_where_a_token_is_part_of_one(http: httpx2.Client, text: str) -> None:
    choice = complete(http, prompt=text, echo=True, logprobs=0, max_tokens=0)["choices"][0]
    assert choice["text"] == text
    assert_offsets_point_at_their_tokens(choice)
    placed = dict(zip(choice["logprobs"]["text_offset"], choice["logprobs"]["tokens"], strict=True))
    assert max(placed) <= len(text) - 1 and not set(placed.values()) & {""}


def test_offsets_of_broken_characters_stay_in_step(pair_http: httpx2.Client, byte_model: str) -> None:
    answer = complete(pair_http, model=byte_model, prompt="é🦊", echo=True, logprobs=1, max_tokens=60, seed=1, n=3)
    for choice in answer["choices"]:
        tokens, offsets = choice["logprobs"]["tokens"], choice["logprobs"]["text_offset"]
        assert tokens[:2] == ["bytes:\\xc3", "bytes:\\xa9"] and offsets[:7] == [0, 0, 1, 1, 1, 1, 2]
        readable = [(t, o) for t, o in zip(tokens, offsets, strict=True) if not t.startswith(("bytes:", "<"))]
        assert len(readable) > 10 and all(choice["text"].startswith(token, offset) for token, offset in readable)


def test_scoring_a_prompt_draws_nothing(http: httpx2.Client, ids: list[int]) -> None:
    answer = complete(http, prompt=ids, echo=True, logprobs=1, max_tokens=0)
    choice = answer["choices"][0]
    assert choice["text"] == PROMPT and choice["finish_reason"] == "length"
    assert len(choice["logprobs"]["tokens"]) == len(ids)
    assert answer["usage"]["completion_tokens"] == 0
    with LLM("demo", kv_cache_memory=2**24) as llm:
        result = llm.generate([ids], SamplingParams(max_tokens=1, prompt_logprobs=1))[0]
    assert result.prompt_logprobs is not None
    expected = [p[i].logprob for p, i in zip(result.prompt_logprobs, ids, strict=True) if p is not None]
    assert choice["logprobs"]["token_logprobs"][1:] == pytest.approx(expected, abs=1e-5)


def test_offsets_with_a_stop_string_stay_in_the_text(http: httpx2.Client) -> None:
    plain = complete(http, seed=4, max_tokens=24)["choices"][0]["text"]
    stop = plain[12:15]
    choice = complete(http, seed=4, max_tokens=24, stop=stop, logprobs=0)["choices"][0]
    assert choice["text"] == plain[: plain.index(stop)]
    assert choice["finish_reason"] == "stop" and choice["stop_reason"] == stop
    assert max(choice["logprobs"]["text_offset"]) <= len(choice["text"])


def test_prompt_logprobs_are_told_by_token_id(http: httpx2.Client, ids: list[int]) -> None:
    choice = complete(http, prompt=ids, prompt_logprobs=2)["choices"][0]
    assert choice["text"] and choice["logprobs"] is None
    first, *others = choice["prompt_logprobs"]
    assert first is None and len(others) == len(ids) - 1
    for token_id, position in zip(ids[1:], others, strict=True):
        assert position[str(token_id)]["logprob"] < 0 and len(position) in (2, 3)


# ---- how many, and which


def test_best_of_gives_the_likeliest_of_what_n_would_draw(http: httpx2.Client) -> None:
    drawn = complete(http, n=4, seed=9, logprobs=0)
    means = [sum(c["logprobs"]["token_logprobs"]) / len(c["logprobs"]["tokens"]) for c in drawn["choices"]]
    ranked = sorted(range(4), key=lambda place: -means[place])
    best = complete(http, n=2, best_of=4, seed=9)
    assert [c["text"] for c in best["choices"]] == [drawn["choices"][place]["text"] for place in ranked[:2]]
    assert [c["index"] for c in best["choices"]] == [0, 1] and best["choices"][0]["logprobs"] is None
    assert best["usage"]["completion_tokens"] == drawn["usage"]["completion_tokens"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"suffix": "the end"}, "suffix"),
        ({"prompt_embeds": "gASV"}, "prompt_embeds"),
        ({"use_beam_search": True}, "use_beam_search"),
        ({"best_of": 2, "stream": True}, "best_of"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"logprobs": 6}, "logprobs"),
        ({"logprobs": True}, "logprobs"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"sampler_order": ["temperature"] * 65}, "sampler_order"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(http: httpx2.Client, fields: dict[str, Any], param: str) -> None:
    error = refused(http, **fields)
    assert error["param"] == param and param in error["message"]


@pytest.mark.parametrize("fields", [{"suffix": None}, {"suffix": ""}, {"use_beam_search": False}, {"user": "dana"}])
def test_fields_that_change_nothing_are_accepted(http: httpx2.Client, fields: dict[str, Any]) -> None:
    assert complete(http, **fields)["choices"][0]["text"]


def test_sampling_extensions_reach_the_engine(http: httpx2.Client, ids: list[int]) -> None:
    answer = complete(http, allowed_token_ids=ids[:1], min_tokens=3, max_tokens=3, return_token_ids=True)
    assert answer["choices"][0]["token_ids"] == ids[:1] * 3
    assert len(answer["choices"][0]["prompt_token_ids"]) == len(ids) + 1
    stopped = complete(http, allowed_token_ids=ids[:1], stop_token_ids=ids[:1])
    assert stopped["choices"][0]["finish_reason"] == "stop" and stopped["choices"][0]["stop_reason"] == ids[0]


# ---- streams


def test_streamed_and_whole_are_the_same_for_several_prompts(sdk: openai.OpenAI) -> None:
    fields: dict[str, Any] = {"prompt": ["A fox", "A hen", "Once"], "n": 2, "seed": 6, "max_tokens": 12}
    whole = sdk.completions.create(model="demo", **fields)
    chunks, texts = streamed(sdk, **fields, stream_options={"include_usage": True})
    assert texts == {choice.index: choice.text for choice in whole.choices}
    ends = [c.index for chunk in chunks for c in chunk.choices if c.finish_reason]
    assert sorted(ends) == [0, 1, 2, 3, 4, 5]
    assert chunks[-1].choices == [] and chunks[-1].usage == whole.usage
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert {(chunk.id, chunk.created, chunk.model) for chunk in chunks} == {(chunks[0].id, chunks[0].created, "demo")}


def test_streamed_logprobs_with_echo_are_those_of_the_whole_answer(http: httpx2.Client, sdk: openai.OpenAI) -> None:
    fields: dict[str, Any] = {"prompt": "naïve 🦊", "echo": True, "logprobs": 2, "n": 3, "seed": 8, "max_tokens": 10}
    whole = complete(http, **fields)
    chunks, texts = streamed(sdk, **fields)
    for choice in whole["choices"]:
        pieces = [c for chunk in chunks for c in chunk.choices if c.index == choice["index"]]
        assert texts[choice["index"]] == choice["text"]
        for name, values in choice["logprobs"].items():
            parts = [getattr(piece.logprobs, name) for piece in pieces if piece.logprobs]
            assert [value for part in parts for value in part] == values


def test_a_stream_tells_ids_piece_by_piece(http: httpx2.Client, sdk: openai.OpenAI) -> None:
    whole = complete(http, seed=1, return_token_ids=True)["choices"][0]
    chunks, _ = streamed(sdk, prompt=PROMPT, seed=1, max_tokens=8, extra_body={"return_token_ids": True})
    pieces: list[Any] = [chunk.choices[0] for chunk in chunks]
    assert pieces[0].prompt_token_ids == whole["prompt_token_ids"]
    assert [i for piece in pieces for i in piece.token_ids] == whole["token_ids"]


def test_a_client_that_goes_away_ends_all_its_prompts(service: Running) -> None:
    def running_now() -> int:
        with service.client(headers=service.admin) as client:
            return client.get("/admin/status").json()["models"][0]["stats"]["running"]

    fields = {
        "model": "demo",
        "prompt": ["A", "B", "C"],
        "n": 2,
        "ignore_eos": True,
        "max_tokens": 1900,
        "stream": True,
    }
    with service.client() as client, client.stream("POST", "/v1/completions", json=fields) as stream:
        lines = stream.iter_lines()  # kept: dropping the generator closes the connection
        next(lines)
        wait_for(lambda: running_now() == 6, 20)
    wait_for(lambda: running_now() == 0, 20)


def test_an_unknown_model_is_not_found(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        sdk.completions.create(model="gpt-9", prompt=PROMPT)
    assert caught.value.code == "model_not_found"
