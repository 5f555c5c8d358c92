"""Stop strings on text that arrives in pieces: nothing that may become a stop string is shown too early."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class StopResult:
    """Text that may be shown now, and the stop string that ended the sequence, if one did."""

    text: str
    stopped_by: str | None = None


class StopStrings:
    """Watches one sequence's text."""

    def __init__(self, strings: Sequence[str], keep_stop_string: bool) -> None:
        self._strings = tuple(strings)
        self._keep = keep_stop_string
        self._held = ""

    def add(self, piece: str, *, active: bool) -> StopResult:
        """Take new text. Where not `active` (before min_tokens) all of it passes and can no longer stop anything."""
        if not self._strings:
            return StopResult(piece)
        if not active:
            held, self._held = self._held, ""
            return StopResult(held + piece)
        text = self._held + piece
        found = self._earliest(text)
        if found is None:
            keep = self._longest_possible_start(text)
            self._held = text[len(text) - keep :]
            return StopResult(text[: len(text) - keep])
        start, string = found
        self._held = ""
        return StopResult(text[: start + len(string) if self._keep else start], string)

    def finish(self) -> str:
        """Text still held back when the sequence ends for another reason."""
        held, self._held = self._held, ""
        return held

    def _earliest(self, text: str) -> tuple[int, str] | None:
        places = [(text.find(string), string) for string in self._strings]
        found = [(start, string) for start, string in places if start >= 0]
        # The string that is complete first wins; of two that end together, the longer.
        return min(found, key=lambda f: (f[0] + len(f[1]), f[0]), default=None)

    def _longest_possible_start(self, text: str) -> int:
        """Length of the longest end of `text` that begins some stop string."""
        longest = min(len(text), max(len(string) for string in self._strings) - 1)
        for length in range(longest, 0, -1):
            end = text[len(text) - length :]
            if any(string.startswith(end) for string in self._strings):
                return length
        return 0
