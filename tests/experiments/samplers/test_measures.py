"""The study's measures, on texts small enough to count by hand."""

from __future__ import annotations

import math

import pytest

from experiments.samplers import measures


def test_words_and_marks_are_counted_apart() -> None:
    assert measures.words_of('"Go," said Pim.') == ['"', "Go", ",", '"', "said", "Pim", "."]


def test_distinct_counts_over_all_texts() -> None:
    texts = [["a", "b", "a"], ["a", "b"]]
    assert measures.distinct(texts, 1) == 2 / 5
    assert measures.distinct(texts, 2) == 2 / 3  # a b, b a, a b
    assert measures.distinct(texts, 4) == 0


def test_overlap_is_the_share_that_two_texts_have_in_common() -> None:
    same, other = ["a", "b", "c", "d"], ["b", "c", "d", "e"]
    assert measures.overlap([same, same]) == 1
    assert measures.overlap([same, other]) == 1 / 3  # b c d of a b c, b c d, c d e
    assert measures.overlap([same, same, other]) == pytest.approx((1 + 1 / 3 + 1 / 3) / 3)
    assert measures.overlap([same]) == 0


def test_repeated_counts_what_came_before_in_prompt_or_text() -> None:
    assert measures.repeated([((), list("abcabc"))], n=2) == 2 / 5  # ab bc ca ab bc
    assert measures.repeated([(list("abc"), list("abc"))], n=2) == 2 / 3  # ca ab bc
    assert measures.repeated([(list("abc"), list("xyz"))], n=2) == 0
    assert measures.repeated([((), ["a"])], n=2) == 0


@pytest.mark.parametrize(
    ("text", "loops"), [("xaaa", True), ("xababab", True), ("xabab", False), ("aaab", False), ("", False)]
)
def test_a_loop_is_the_same_run_three_times_at_the_end(text: str, loops: bool) -> None:
    assert measures.ends_in_a_loop(list(text)) == loops


def test_the_error_of_a_share_is_binomial_and_never_nothing() -> None:
    assert measures.proportion_error(50, 100) == pytest.approx(0.05)
    assert measures.proportion_error(100, 100) == pytest.approx(measures.proportion_error(0, 100))
    assert measures.proportion_error(0, 100) == pytest.approx(math.sqrt(0.005 * 0.995 / 100))


def test_the_error_of_a_difference_counts_only_what_changed() -> None:
    assert measures.paired_error(30, 10, 1000) == pytest.approx(math.sqrt(40 - 400 / 1000) / 1000)
    assert measures.paired_error(0, 0, 1000) == 0.001
