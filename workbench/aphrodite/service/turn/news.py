"""What happens to a turn, step by step, and the whole of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import msgspec

from aphrodite.service.engines.boundary import TokenLogprob
from aphrodite.service.traces import Traces
from aphrodite.service.turn.deltas import Delta, ReasoningDelta, TextDelta, ToolArgumentsDelta, ToolCallStarted

FinishReason = Literal["stop", "length", "tool_calls"]


class Finish(msgspec.Struct, frozen=True):
    """Why a sequence ended.

    Attributes:
        reason: "tool_calls" where it called and was not cut; a call that the token limit cut is "length".
        stopped_by: the stop string or id, None for the model's own end. Beside "length" it is "repetition" where the
            text was cut because it went round: clients that know only OpenAI's reasons then take no cut text for a
            whole one.
    """

    reason: FinishReason
    stopped_by: int | str | None = None


class News(msgspec.Struct, frozen=True):
    """What one step brought of one sequence.

    Attributes:
        index: which of the n sequences.
        logprobs: of each new token, where asked for: the drawn one first, then the most likely.
        traces: of each new token, where asked for.
    """

    index: int
    deltas: tuple[Delta, ...]
    token_ids: tuple[int, ...]
    logprobs: list[list[TokenLogprob]] | None = None
    finish: Finish | None = None
    traces: Traces | None = None


@dataclass
class ToolCall:
    """A whole call; `arguments` is JSON as the model wrote it."""

    id: str
    name: str
    arguments: str = ""


@dataclass
class Reply:
    """A whole sequence."""

    index: int
    text: str = ""
    reasoning: str = ""
    tool_calls: list[ToolCall] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[list[TokenLogprob]] = field(default_factory=list)
    traces: Traces = field(default_factory=list)
    finish: Finish = field(default_factory=lambda: Finish("stop"))

    def add(self, news: News) -> None:
        """Fold one step's news in."""
        for delta in news.deltas:
            self._add(delta)
        self.token_ids += news.token_ids
        self.logprobs += news.logprobs or []
        self.traces += news.traces or []
        self.finish = news.finish or self.finish

    def _add(self, delta: Delta) -> None:
        match delta:
            case TextDelta(text):
                self.text += text
            case ReasoningDelta(text):
                self.reasoning += text
            case ToolCallStarted(_, call_id, name):
                self.tool_calls.append(ToolCall(call_id, name))
            case ToolArgumentsDelta(place, arguments):
                self.tool_calls[place].arguments += arguments
