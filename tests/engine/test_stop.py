"""Stop strings on text in pieces, against a reference that sees the whole text one character at a time."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aphrodite_engine.constraints.stop import StopStrings

#: Few letters, so that stop strings overlap each other and themselves.
LETTERS = st.text("ab", min_size=1, max_size=4)
STOPS = st.lists(LETTERS, min_size=1, max_size=3)
PIECES = st.lists(st.text("ab", max_size=5), max_size=8)


@dataclass(frozen=True)
class Watched:
    """All a stream showed, in pieces, and what ended it."""

    shown: list[str]
    stopped_by: str | None

    @property
    def text(self) -> str:
        return "".join(self.shown)


def watch(stops: list[str], pieces: list[str], *, keep: bool = False, inactive: int = 0) -> Watched:
    """Feed the pieces; the first `inactive` of them cannot stop anything."""
    watcher, shown = StopStrings(stops, keep), []
    for place, piece in enumerate(pieces):
        result = watcher.add(piece, active=place >= inactive)
        shown.append(result.text)
        if result.stopped_by is not None:
            return Watched(shown, result.stopped_by)
    return Watched([*shown, watcher.finish()], None)


def reference(stops: list[str], text: str, keep: bool) -> tuple[str, str | None]:
    """The string complete first ends the text; of two complete at once, the longer."""
    for end in range(1, len(text) + 1):
        found = [string for string in stops if text[:end].endswith(string)]
        if found:
            longest = max(found, key=len)
            return text[: end if keep else end - len(longest)], longest
    return text, None


@given(STOPS, PIECES, st.booleans())
@settings(max_examples=300)
@example(["aab", "b"], ["a", "a", "b"], False)
@example(["aa", "baa"], ["ba", "a"], True)
def test_the_text_ends_where_the_first_stop_string_is_complete(stops: list[str], pieces: list[str], keep: bool) -> None:
    watched = watch(stops, pieces, keep=keep)
    assert (watched.text, watched.stopped_by) == reference(stops, "".join(pieces), keep)


@given(STOPS, PIECES)
@settings(max_examples=200)
def test_only_what_may_become_a_stop_string_is_held_back(stops: list[str], pieces: list[str]) -> None:
    watcher, seen, shown = StopStrings(stops, False), "", ""
    for piece in pieces:
        result = watcher.add(piece, active=True)
        seen, shown = seen + piece, shown + result.text
        if result.stopped_by is not None:
            return
        held = seen.removeprefix(shown)
        assert seen == shown + held
        assert not held or any(string.startswith(held) for string in stops)


@given(PIECES)
def test_without_stop_strings_every_piece_passes_as_it_is(pieces: list[str]) -> None:
    assert watch([], pieces).shown == [*pieces, ""]


@given(STOPS, PIECES, st.integers(0, 8))
def test_text_before_min_tokens_passes_at_once_and_stops_nothing_later(
    stops: list[str], pieces: list[str], inactive: int
) -> None:
    watched = watch(stops, pieces, inactive=inactive)
    assert watched.shown[:inactive] == pieces[:inactive] or len(pieces) < inactive
    later_text, stopped_by = reference(stops, "".join(pieces[inactive:]), keep=False)
    assert (watched.text, watched.stopped_by) == ("".join(pieces[:inactive]) + later_text, stopped_by)


@pytest.mark.parametrize(("keep", "expected"), [(False, "one "), (True, "one END")])
def test_the_stop_string_is_trimmed_unless_asked_for_and_what_follows_it_is_dropped(keep: bool, expected: str) -> None:
    watched = watch(["END"], ["one E", "N", "D two"], keep=keep)
    assert (watched.text, watched.stopped_by) == (expected, "END")


def test_what_was_held_back_is_shown_when_it_did_not_become_a_stop_string() -> None:
    assert watch(["END"], ["one EN", "ough"]).shown == ["one ", "ENough", ""]


def test_what_is_still_held_back_at_the_end_is_shown() -> None:
    assert watch(["END"], ["one EN"]).shown == ["one ", "EN"]


def test_a_stop_string_that_starts_inside_a_failed_one_is_found() -> None:
    assert watch(["aab"], ["aa", "ab"]).text == "a"
