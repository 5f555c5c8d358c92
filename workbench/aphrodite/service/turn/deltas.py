"""What one step adds to an answer, in no protocol's words."""

from __future__ import annotations

import msgspec


class TextDelta(msgspec.Struct, frozen=True):
    """More of the answer's text."""

    text: str


class ReasoningDelta(msgspec.Struct, frozen=True):
    """More of what the model thinks before it answers."""

    text: str


class ToolCallStarted(msgspec.Struct, frozen=True):
    """A call begins; `place` counts the calls of one sequence from 0."""

    place: int
    call_id: str
    name: str


class ToolArgumentsDelta(msgspec.Struct, frozen=True):
    """More of a call's arguments, which are JSON once they are whole."""

    place: int
    arguments: str


Delta = TextDelta | ReasoningDelta | ToolCallStarted | ToolArgumentsDelta
