"""Texts that go round: found as a slow count finds them, in the output alone, and cut with a reason of their own."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aphrodite_engine.constraints.loops import LoopWatch
from aphrodite_engine.errors import ParameterError
from aphrodite_engine.llm import LLM
from aphrodite_engine.outputs import CompletionOutput
from aphrodite_engine.params import SamplingParams
from aphrodite_engine.repetition_detection import RepetitionDetection

pytestmark = pytest.mark.slow

ROUND = {"max_pattern_size": 4, "min_pattern_size": 2, "min_count": 3}
detections = st.builds(
    lambda least, more, count: RepetitionDetection(least + more, count, least),
    st.integers(1, 4), st.integers(0, 4), st.integers(2, 4),
)  # fmt: skip


def goes_round(ids: list[int], asked: RepetitionDetection) -> bool:
    """As one says it: some pattern, so many times, at the end."""
    sizes = range(asked.min_pattern_size, asked.max_pattern_size + 1)
    return any(ids[-size * asked.min_count :] == ids[-size:] * asked.min_count for size in sizes)


@given(detections, st.lists(st.integers(0, 1), max_size=40))
@settings(max_examples=300)
def test_it_is_found_with_the_token_that_completes_it(asked: RepetitionDetection, ids: list[int]) -> None:
    watch = LoopWatch(asked)
    for count, token_id in enumerate(ids, start=1):
        assert watch.add(token_id) == goes_round(ids[:count], asked)


@given(detections, st.lists(st.integers(0, 1), max_size=20), st.lists(st.integers(0, 1), max_size=20))
def test_what_was_taken_back_does_not_count(asked: RepetitionDetection, ids: list[int], taken: list[int]) -> None:
    watch, other = LoopWatch(asked), LoopWatch(asked)
    for token_id in ids:
        watch.add(token_id)
        other.add(token_id)
    mark = watch.mark()
    for token_id in taken:
        watch.add(token_id)
    watch.rewind(mark)
    assert [watch.add(token_id) for token_id in ids] == [other.add(token_id) for token_id in ids]


def one(llm: LLM, prompt: str = "aba", **fields: Any) -> CompletionOutput:
    letters = [llm.tokenize(letter, add_special_tokens=False)[0] for letter in "ab"]
    given_fields = {"seed": 3, "max_tokens": 60, "allowed_token_ids": letters, "temperature": 0} | fields
    return llm.generate(prompt, SamplingParams.from_fields(given_fields))[0].outputs[0]


def test_a_text_that_goes_round_is_cut_there(tiny: LLM) -> None:
    whole, cut = one(tiny), one(tiny, repetition_detection=ROUND)
    asked = RepetitionDetection(**ROUND)
    end = next(end for end in range(1, 61) if goes_round(whole.token_ids[:end], asked))
    assert (cut.finish_reason, cut.stop_reason) == ("repetition", None)
    assert cut.token_ids == whole.token_ids[:end] and cut.text == whole.text[:end]


def test_the_prompt_does_not_count(tiny: LLM) -> None:
    cut = one(tiny, prompt="abababababababab", repetition_detection={"max_pattern_size": 2, "min_count": 3})
    assert len(cut.token_ids) >= 3


def test_it_waits_for_min_tokens(tiny: LLM) -> None:
    assert len(one(tiny, repetition_detection=ROUND, min_tokens=40).token_ids) >= 40


def test_a_text_that_does_not_go_round_is_left_alone(demo: LLM) -> None:
    params = SamplingParams(seed=1, max_tokens=30, logprobs=1)
    free = demo.generate("Once upon a time", params)[0].outputs
    watched = params.with_fields(repetition_detection={"max_pattern_size": 20, "min_count": 3})
    assert demo.generate("Once upon a time", watched)[0].outputs == free


def test_it_counts_what_stands_beside_banned_phrases(tiny: LLM) -> None:
    letters = [tiny.tokenize(letter, add_special_tokens=False)[0] for letter in "abcd"]
    phrases = ["aaa", "bb", "cad", "dac"]
    cut = one(tiny, banned_phrases=phrases, allowed_token_ids=letters, repetition_detection=ROUND)
    assert not any(phrase in cut.text for phrase in phrases)
    asked = RepetitionDetection(**ROUND)
    assert cut.finish_reason == "repetition"
    assert next(end for end in range(1, 61) if goes_round(cut.token_ids[:end], asked)) == len(cut.token_ids)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (True, "max_pattern_size and min_count"),
        ({"max_pattern_size": 4}, "max_pattern_size and min_count"),
        ({**ROUND, "count": 2}, "its parts are max_pattern_size, min_pattern_size, min_count"),
        ({**ROUND, "min_count": 1}, r"repetition_detection\.min_count=1.*an integer from 2 to 1024"),
        ({**ROUND, "max_pattern_size": 10**9}, r"max_pattern_size=1000000000.*from 1 to 1024"),
        ({**ROUND, "min_pattern_size": 5}, r"min_pattern_size=5.*at most max_pattern_size=4"),
        ({**ROUND, "min_count": 2.0}, "an integer"),
    ],
)
def test_what_is_not_a_detection_is_refused(value: Any, said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        SamplingParams(repetition_detection=value)
