"""The watch for banned phrases alone, against a reference that sees the whole text one token at a time."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aphrodite_engine.constraints.phrases import PhraseWatch, folded

#: Few letters, so that phrases overlap each other and themselves.
PHRASES = st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=3)
PIECES = st.lists(st.text("abAB", max_size=4), max_size=10)


def begins_a_phrase(phrases: list[str], text: str) -> bool:
    return any(len(text) < len(phrase) and phrase.startswith(text) for phrase in phrases)


def first_phrase(phrases: list[str], text: str) -> int | None:
    """Where the phrase begins that is complete first; of two complete at once, the longer."""
    for end in range(1, len(text) + 1):
        starts = [end - len(phrase) for phrase in phrases if text[:end].endswith(phrase)]
        if starts:
            return min(starts)
    return None


@given(PHRASES, PIECES)
@settings(max_examples=400)
def test_tokens_pass_in_order_until_the_one_in_which_the_first_phrase_begins(
    phrases: list[str], pieces: list[str]
) -> None:
    watch, shown = PhraseWatch[int](phrases), []
    for place, piece in enumerate(pieces):
        text = "".join(pieces[: place + 1]).lower()
        found, start = watch.add(place, piece), first_phrase(phrases, text)
        if start is not None:
            assert found is not None and found == next(
                p for p in range(place + 1) if start < len("".join(pieces[: p + 1]))
            )
            assert shown == list(range(len(shown))) and len(shown) <= found, "nothing shown was taken back"
            assert [*shown, *watch.finish()] == list(range(found)), "what stands before it is still there"
            return
        assert found is None
        shown += watch.release()
        held = "".join(pieces[len(shown) : place + 1]).lower()
        possible = [at for at in range(len(held)) if begins_a_phrase(phrases, held[at:])]
        assert (len(shown) == place + 1) == (not possible), "held only where it may become a phrase"
        if possible and len(pieces[len(shown)]):
            assert possible[0] < len(pieces[len(shown)]), "held no longer than that"
    assert [*shown, *watch.finish()] == list(range(len(pieces)))


@given(PHRASES, st.text("ab", max_size=6), PIECES)
@settings(max_examples=200)
def test_a_phrase_that_begins_in_standing_text_is_broken_at_the_first_token_behind_it(
    phrases: list[str], given_text: str, pieces: list[str]
) -> None:
    watch = PhraseWatch[int](phrases)
    for char in given_text:
        watch.give(char)
    for place, piece in enumerate(pieces):
        whole = given_text + "".join(pieces[: place + 1]).lower()
        known = len(whole) - len(piece)
        ends = [end for end in range(known + 1, len(whole) + 1) if any(whole[:end].endswith(p) for p in phrases)]
        found = watch.add(place, piece)
        assert (found is not None) == bool(ends)
        if found is not None:
            start = min(ends[0] - len(p) for p in phrases if whole[: ends[0]].endswith(p))
            in_given = start < len(given_text)
            assert (found == 0) if in_given else start < len(given_text + "".join(pieces[: found + 1]))
            return


def test_what_was_released_is_never_taken_back_but_counts() -> None:
    watch = PhraseWatch[int](["aac"])
    assert [watch.add(place, "a") for place in range(4)] == [None] * 4
    assert watch.release() == [0, 1]
    assert watch.add(4, "c") == 2
    assert watch.add(5, "c") == 5, "behind what stands now it completes the phrase at once"
    assert watch.add(6, "b") is None
    assert watch.release() == [6]


def test_of_a_character_in_several_tokens_the_first_is_taken_back() -> None:
    watch = PhraseWatch[str](["é!"])
    assert watch.add("x", "x") is None
    assert watch.add("C3", "", ends_inside=True) is None
    assert watch.release() == ["x"], "what is not yet a character may become a phrase"
    assert watch.add("A9", "é", begins_inside=True) is None
    assert watch.release() == []
    assert watch.add("!", "!") == "C3"
    assert watch.finish() == []


def test_a_token_without_text_behind_a_held_one_waits_for_it() -> None:
    watch = PhraseWatch[str](["ab"])
    watch.add("a", "a")
    watch.add("silent", "")
    assert watch.release() == []
    watch.add("c", "c")
    assert watch.release() == ["a", "silent", "c"]


@pytest.mark.parametrize(("phrase", "text"), [("straße", "STRAßE"), ("ΣΑΣ", "σας"), ("İx", "İX"), ("kelvin", "KELVIN")])
def test_upper_and_lower_case_are_the_same_in_every_script(phrase: str, text: str) -> None:
    assert PhraseWatch[int]([phrase]).add(0, text) == 0


@given(st.text())
def test_folding_keeps_every_place(text: str) -> None:
    assert len(folded(text)) == len(text)
    assert folded(folded(text)) == folded(text)
