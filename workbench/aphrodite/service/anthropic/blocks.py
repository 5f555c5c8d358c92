"""Content blocks of a streamed message: one is open at a time."""

from __future__ import annotations

from aphrodite.service.anthropic.shapes import (
    BlockDelta,
    BlockStart,
    BlockStop,
    Content,
    Event,
    InputPiece,
    TextContent,
    TextPiece,
    ThinkingContent,
    ThinkingPiece,
    ToolUseContent,
)
from aphrodite.service.turn.conversation import (
    Delta,
    ReasoningDelta,
    TextDelta,
    ToolArgumentsDelta,
    ToolCallStarted,
)


class BlockWriter:
    """Turns what happens into events."""

    def __init__(self) -> None:
        self._index = -1
        self._open: type[Content] | None = None

    def add(self, delta: Delta) -> list[Event]:
        """The events of one thing that happened."""
        match delta:
            case TextDelta(text):
                return [*self._within(TextContent("")), BlockDelta(self._index, TextPiece(text))]
            case ReasoningDelta(text):
                return [*self._within(ThinkingContent("")), BlockDelta(self._index, ThinkingPiece(text))]
            case ToolCallStarted(_, call_id, name):
                return self._begin(ToolUseContent(call_id, name, {}))
            case ToolArgumentsDelta(_, arguments):
                return [BlockDelta(self._index, InputPiece(arguments))]

    def close(self) -> list[Event]:
        """The end of the block that is open, if one is."""
        if self._open is None:
            return []
        self._open = None
        return [BlockStop(self._index)]

    def _within(self, block: Content) -> list[Event]:
        """What it takes for a block of this kind to be open."""
        return [] if self._open is type(block) else self._begin(block)

    def _begin(self, block: Content) -> list[Event]:
        ended = self.close()
        self._index += 1
        self._open = type(block)
        return [*ended, BlockStart(self._index, block)]
