"""What one step adds to an answer, in no protocol's words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TextDelta:
    """More of the answer's text."""

    text: str


@dataclass(frozen=True)
class ReasoningDelta:
    """More of what the model thinks before it answers."""

    text: str


@dataclass(frozen=True)
class ToolCallStarted:
    """A call begins; `place` counts the calls of one sequence from 0."""

    place: int
    call_id: str
    name: str


@dataclass(frozen=True)
class ToolArgumentsDelta:
    """More of a call's arguments, which are JSON once they are whole."""

    place: int
    arguments: str


Delta = TextDelta | ReasoningDelta | ToolCallStarted | ToolArgumentsDelta
