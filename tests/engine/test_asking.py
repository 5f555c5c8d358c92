"""What comes next, how likely a continuation is, how surprising a text: against the model's own logits."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers

from aphrodite_engine.errors import ContextOverflowError, ParameterError
from aphrodite_engine.llm import LLM
from aphrodite_engine.loading.hub import resolve_model
from aphrodite_engine.params import SamplingParams
from tests.engine.inside import logits_of

pytestmark = pytest.mark.slow

START = "Once upon a time"
QUESTION = [{"role": "user", "content": "What is 39 + 48?"}]
TEXT = "Once upon a time there was a little fox. The fox found a red ball, and it was glad. " * 8


# ---- next_token


def test_the_first_stage_is_the_models_own_distribution(demo: LLM) -> None:
    found = demo.next_token(START, top=5)
    logits = logits_of(demo, demo.tokenize(START))[-1]
    best = torch.softmax(logits, 0).topk(5)
    assert [candidate.token_id for candidate in found.raw] == best.indices.tolist()
    assert [candidate.probability for candidate in found.raw] == best.values.tolist()
    assert found.stages == (found.stages[0],) and found.raw == found.final


def test_every_stage_is_told_and_none_of_it_is_kept(demo: LLM) -> None:
    params = SamplingParams(temperature=1.4, top_p=0.95, xtc_probability=0.5, seed=3, max_tokens=400, min_tokens=9)
    found = demo.next_token(START, params)
    (drawn,) = demo.generate(START, params.with_fields(max_tokens=1, min_tokens=1, trace=20))
    (stages,) = drawn.outputs[0].traces or [()]
    assert [(s.name, s.num_possible, s.top, s.coin) for s in found.stages] == [
        (s.name, s.num_possible, s.top, s.coin) for s in stages
    ]
    assert [s.name for s in found.stages] == ["model", "constraints", "temperature", "top_p", "xtc"]
    assert demo.stats().running == demo.stats().waiting == 0


def test_tables_have_a_row_a_candidate_and_a_row_a_stage(demo: LLM) -> None:
    found = demo.next_token(START, SamplingParams(top_k=3, sampler_order=["top_k", "temperature", "top_k"]), top=4)
    assert list(found.df) == ["step", "stage", "rank", "token_id", "token", "probability"]
    assert found.df.groupby("step").size().tolist() == [4, 3, 3]
    assert found.df.groupby("step").probability.sum().between(0, 1 + 1e-6).all()
    assert found.stages_df.num_possible.tolist() == [4096, 3, 3]
    assert found.stages_df.removed.tolist() == [0, 4093, 0]


def test_a_coin_is_tossed_alike_every_time(demo: LLM) -> None:
    params = SamplingParams(xtc_probability=0.5, xtc_threshold=0.01)
    first, again, other = (demo.next_token(START, own) for own in (params, params, params.with_fields(seed=8)))
    assert first == again and first.seed == 0
    assert first.stages[-1].coin != other.stages[-1].coin


def test_text_ids_and_conversations_can_be_asked_about(demo: LLM) -> None:
    assert demo.next_token(demo.tokenize(START)) == demo.next_token(START)
    assert demo.next_token(QUESTION).raw[0].decoded_token.strip() == "8"


def test_it_shows_itself(demo: LLM) -> None:
    found = demo.next_token(START, SamplingParams(top_k=2))
    assert "␣there" in repr(found) and "model 4,096 > top_k 2 possible" in repr(found)
    assert "<th" in found._repr_html_() and "␣there" in found._repr_html_()


# ---- score


def test_a_score_is_the_sum_of_what_the_model_says_of_each_token(demo: LLM) -> None:
    prompt, continuations = "Once upon a time, there was a", [" fox.", " girl", " little bird"]
    scores = demo.score(prompt, continuations=continuations)
    for given, score in zip(continuations, scores, strict=True):
        ids = demo.tokenize(prompt + given)
        logprobs = torch.log_softmax(logits_of(demo, ids), 1)
        start = len(demo.tokenize(prompt))
        expected = [logprobs[place - 1, ids[place]].item() for place in range(start, len(ids))]
        assert list(score.logprobs) == expected and score.total == math.fsum(expected)
        assert "".join(score.tokens) == score.text == given and score.merged == 0
        assert score.mean == score.total / len(score.token_ids)
    totals = [score.total for score in scores]
    assert [score.rank for score in scores] == [1 + sorted(totals, reverse=True).index(total) for total in totals]
    assert scores.best.total == max(totals)
    assert scores.df["rank"].tolist() == [score.rank for score in scores]
    assert scores.tokens_df.groupby("continuation").logprob.sum().tolist() == pytest.approx(totals)


def test_where_the_tokenizer_merges_the_score_begins_earlier_and_says_so(demo: LLM) -> None:
    assert demo.tokenize("Once up")[-1] != demo.tokenize("Once upon")[-1]  # " up" is another token than " upon"
    merged, apart = demo.score("Once up", continuations=["on a time", " we go"])
    assert (merged.merged, "".join(merged.tokens)) == (1, " upon a time")
    assert (apart.merged, "".join(apart.tokens)) == (0, " we go")


def test_ids_are_put_behind_the_prompt_as_they_are(demo: LLM) -> None:
    on = demo.tokenize("on", add_special_tokens=False)
    (score,) = demo.score("Once up", continuations=[on])
    assert (score.token_ids, score.merged, score.text) == (tuple(on), 0, "on")
    assert demo.score(demo.tokenize("Once up"), continuations=["on"])[0] == score


def test_the_right_answer_scores_best(demo: LLM) -> None:
    scores = demo.score(QUESTION, continuations=["78", "87", "88", "87"])
    assert [score.rank for score in scores] == [3, 1, 4, 1] or [score.rank for score in scores] == [4, 1, 3, 1]
    assert repr(scores).splitlines()[1].startswith("87  1  -0.0") and "87" in scores._repr_html_()


# ---- perplexity


def plain_logprobs(ids: list[int], window: int, stride: int) -> list[float]:
    """As the documentation of transformers computes it ("Perplexity of fixed-length models"), in float32."""
    model = transformers.AutoModelForCausalLM.from_pretrained(resolve_model("demo"), dtype=torch.float32).eval()
    scored: list[float] = []
    before = 0
    for begin in range(0, len(ids), stride):
        end = min(begin + window, len(ids))
        with torch.no_grad():
            logprobs = torch.log_softmax(model(torch.tensor([ids[begin:end]])).logits[0], 1)
        for place in range(max(before - begin, 1), end - begin):
            scored.append(logprobs[place - 1, ids[begin + place]].item())
        before = end
        if end == len(ids):
            break
    return scored


@pytest.mark.slow  # imports transformers
@pytest.mark.parametrize(("window", "stride"), [(2047, 1023), (48, 16), (40, 39)])
def test_perplexity_is_what_plain_transformers_computes(demo: LLM, window: int, stride: int) -> None:
    found = demo.perplexity(TEXT, window, stride)
    expected = plain_logprobs(demo.tokenize(TEXT), window, stride)
    assert len(found.tokens) == len(expected) == len(demo.tokenize(TEXT)) - 1
    # float32 sums in another order: single tokens differ by less than 1e-3 nats
    assert [token.logprob for token in found.tokens] == pytest.approx(expected, abs=1e-3)
    assert found.perplexity == pytest.approx(math.exp(-sum(expected) / len(expected)), rel=1e-4)
    assert found.bits_per_byte == pytest.approx(-sum(expected) / math.log(2) / len(TEXT), rel=1e-4)


def test_each_token_is_scored_once_with_enough_before_it(demo: LLM) -> None:
    found = demo.perplexity(TEXT, window=30, stride=10)
    assert found.df.position.tolist() == list(range(1, len(demo.tokenize(TEXT))))
    assert "".join(found.df.token) == TEXT
    assert found.df.context[:29].tolist() == list(range(1, 30))
    assert found.df.context[29:].between(20, 29).all()


def test_a_text_within_one_window_needs_no_other(demo: LLM) -> None:
    assert demo.perplexity(START).tokens == demo.perplexity(START, window=1000, stride=1).tokens
    assert demo.perplexity(START).window == 2047


def test_bytes_are_those_of_what_was_scored(demo: LLM, tiny: LLM) -> None:
    assert demo.perplexity("Pip 🦊").num_bytes == len("Pip 🦊".encode())
    assert demo.perplexity(demo.tokenize("Pip 🦊")).num_bytes == len("Pip 🦊".encode())
    plain = tiny.tokenize("abc", add_special_tokens=False)
    assert tiny.perplexity(plain).num_bytes == len("bc")


def test_a_perplexity_shows_itself(demo: LLM) -> None:
    found = demo.perplexity(START)
    assert float(found) == found.perplexity
    assert repr(found).startswith("perplexity ") and "bits per byte" in found._repr_html_()


# ---- all three

WRONG: dict[str, tuple[Callable[[LLM], Any], str]] = {
    "top": (lambda m: m.next_token("a", top=0), "top"),
    "top too large": (lambda m: m.next_token("a", top=21), "top"),
    "params": (lambda m: m.next_token("a", {"n": 1}), "params"),  # type: ignore[arg-type]
    "prompt": (lambda m: m.next_token(7), "prompt"),  # type: ignore[arg-type]
    "neither": (lambda m: m.score("a"), "continuations"),  # type: ignore[call-overload]
    "both": (lambda m: m.score("a", "b", continuations=["c"]), "continuations"),  # type: ignore[call-overload]
    "pooling": (lambda m: m.score("a", continuations=["c"], pooling="mean"), "pooling"),  # type: ignore[call-overload]
    "a text": (lambda m: m.score("a", continuations="b"), "continuations"),
    "none": (lambda m: m.score("a", continuations=[]), "continuations"),
    "an empty one": (lambda m: m.score("a", continuations=["b", ""]), "continuations[1]"),
    "nothing before": (lambda m: m.score([], continuations=[[5, 6]]), "continuations[0]"),
    "empty text": (lambda m: m.perplexity(""), "text"),
    "a number": (lambda m: m.perplexity(7), "text"),  # type: ignore[arg-type]
    "window of one": (lambda m: m.perplexity("a b", window=1), "window"),
    "window beyond the context": (lambda m: m.perplexity("a b", window=2048), "window"),
    "no stride": (lambda m: m.perplexity("a b", stride=0), "stride"),
    "stride of the window": (lambda m: m.perplexity("a b", window=10, stride=10), "stride"),
    "stride of the whole": (lambda m: m.perplexity("a b", stride=2047), "stride"),
}


@pytest.mark.parametrize(("call", "field"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_named(demo: LLM, call: Callable[[LLM], Any], field: str) -> None:
    with pytest.raises(ParameterError) as caught:
        call(demo)
    assert caught.value.field == field


def test_a_continuation_that_does_not_fit_is_refused(demo: LLM) -> None:
    with pytest.raises(ContextOverflowError):
        demo.score([0] * 2047, continuations=[[5]])


def test_coroutines_get_the_same(demo: LLM) -> None:
    async def ask() -> Any:
        return await asyncio.gather(
            demo.anext_token(START, top=3),
            demo.ascore(START, continuations=[" there"]),
            demo.ascore("a fox", ["a hen"]),
            demo.aperplexity(TEXT, 50, 20),
        )

    assert tuple(asyncio.run(ask())) == (
        demo.next_token(START, top=3),
        demo.score(START, continuations=[" there"]),
        demo.score("a fox", ["a hen"]),
        demo.perplexity(TEXT, 50, 20),
    )
