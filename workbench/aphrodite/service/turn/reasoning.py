"""What a model thinks before it answers, between `<think>` and `</think>`, apart from the answer."""

from __future__ import annotations

from enum import Enum

from aphrodite.service.turn.deltas import ReasoningDelta, TextDelta

OPENING, CLOSING = "<think>", "</think>"


class Thought(Enum):
    """Where a reply begins.

    NONE: the model does not think, or not this time. POSSIBLE: it may open a thought itself. OPEN: the prompt has
    opened it.
    """

    NONE = "none"
    POSSIBLE = "possible"
    OPEN = "open"


def knows_thoughts(template_source: str) -> bool:
    """Whether a model with this chat template thinks."""
    return OPENING in template_source and CLOSING in template_source


def thought_after(prompt: str) -> Thought:
    """Where a reply to this rendered prompt begins, for a model that thinks."""
    end = prompt.rstrip()
    if end.endswith(OPENING):
        return Thought.OPEN
    return Thought.NONE if end.endswith(CLOSING) else Thought.POSSIBLE


class Reasoning:
    """Parts one sequence's text.

    Attributes:
        is_thinking: the next token belongs to the thought.
    """

    def __init__(self, thought: Thought) -> None:
        self._place = thought
        self._held = ""
        self._is_at_start = thought is not Thought.NONE  # of a part: blanks are left out

    @property
    def is_thinking(self) -> bool:
        return self._place is Thought.OPEN or (self._place is Thought.POSSIBLE and bool(self._held.strip()))

    def add(self, text: str) -> list[ReasoningDelta | TextDelta]:
        """Take new text."""
        deltas: list[ReasoningDelta | TextDelta] = []
        self._held += text
        if self._place is Thought.POSSIBLE:
            self._look_for_opening()
        if self._place is Thought.OPEN:
            deltas += self._thought()
        if self._place is Thought.NONE:
            deltas += self._said(TextDelta, len(self._held))
        return deltas

    def finish(self) -> list[ReasoningDelta | TextDelta]:
        """What is still held back when the text ends."""
        return self._said(ReasoningDelta if self._place is Thought.OPEN else TextDelta, len(self._held))

    def _look_for_opening(self) -> None:
        start = self._held.lstrip()
        if start.startswith(OPENING):
            self._held, self._place = start.removeprefix(OPENING), Thought.OPEN
        elif not OPENING.startswith(start):
            self._place, self._is_at_start = Thought.NONE, False

    def _thought(self) -> list[ReasoningDelta | TextDelta]:
        before, closing, after = self._held.partition(CLOSING)
        if not closing:
            return self._said(ReasoningDelta, len(self._held) - _held_length(self._held))
        self._held = before.rstrip()
        deltas = self._said(ReasoningDelta, len(self._held))
        self._held, self._place, self._is_at_start = after, Thought.NONE, True
        return deltas

    def _said(self, kind: type[ReasoningDelta] | type[TextDelta], length: int) -> list[ReasoningDelta | TextDelta]:
        """The first `length` characters of what is held, as deltas."""
        text, self._held = self._held[:length], self._held[length:]
        if self._is_at_start:
            text = text.lstrip()
            self._is_at_start = not text
        return [kind(text)] if text else []


def _held_length(text: str) -> int:
    """Length of the end of `text` that may belong to the closing: a part of it, and blanks before."""
    part = max(n for n in range(min(len(CLOSING), len(text) + 1)) if text.endswith(CLOSING[:n]))
    return len(text) - len(text[: len(text) - part].rstrip())
