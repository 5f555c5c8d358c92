"""What comes back: events while tokens are drawn, results when they are all there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

FinishReason = Literal["stop", "length", "abort", "error"]


@dataclass(frozen=True)
class Logprob:
    """One token's log-probability (nats) at a position, its rank (1 is the most likely) and its text.

    Attributes:
        entropy: (nats) of the whole distribution at the position, with the position's own token; None with the others.
    """

    logprob: float
    rank: int
    decoded_token: str
    entropy: float | None = None


@dataclass(frozen=True)
class StageCandidate:
    """A token and its probability behind one stage of sampling."""

    token_id: int
    probability: float
    decoded_token: str


@dataclass(frozen=True)
class TraceStage:
    """The distribution of one position behind one stage of sampling.

    Attributes:
        name: "model" (before any), "constraints", a step's name, "mirostat" or "adaptive_p".
        num_possible: tokens that still could be drawn.
        drawn: probability of the token that was drawn in the end.
        top: the most likely tokens.
        coin: what a step that tosses tossed, in (0, 1).
    """

    name: str
    num_possible: int
    drawn: float
    top: tuple[StageCandidate, ...]
    coin: float | None = None


#: Of one position: every stage, in order. The last is what the token was drawn from.
PositionTrace = tuple[TraceStage, ...]

#: Of one position: the drawn token first, then the most likely ones.
PositionLogprobs = Mapping[int, Logprob]


@dataclass(frozen=True)
class Timing:
    """Of one request, in milliseconds since it was handed over; they vary from run to run.

    Attributes:
        queue_ms: until its first step began.
        ttft_ms: until its first token.
        total_ms: until its last.
    """

    queue_ms: float
    ttft_ms: float
    total_ms: float


@dataclass(frozen=True)
class TokenEvent:
    """One step's news of one sequence of a request.

    Attributes:
        text: what became certain with this token; pieces joined are the whole text.
        token_ids: the ids drawn (none where only held-back text or an end is reported).
        stop_reason: the stop string or id that ended it.
        prompt_logprobs: with the first event of a request that asked for them.
        embedding: with the only event of an embedding request, (hidden,) float32.
        traces: of each id, what every stage of sampling did.
        captured: with the only event of a request for hidden states, arrays of each layer with a row for every token.
    """

    request_id: str
    index: int
    seed: int
    text: str = ""
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[PositionLogprobs, ...] | None = None
    finish_reason: FinishReason | None = None
    stop_reason: int | str | None = None
    prompt_logprobs: tuple[PositionLogprobs | None, ...] | None = None
    num_cached_tokens: int = 0
    timing: Timing | None = None
    embedding: np.ndarray | None = None
    error: BaseException | None = None
    traces: tuple[PositionTrace, ...] | None = None
    captured: Mapping[int, tuple[np.ndarray, ...]] | None = None


@dataclass
class CompletionOutput:
    """One of the n sequences of a result.

    Attributes:
        finish_reason: "stop" (EOS, a stop id or string), "length" (max_tokens or the context is full), "abort".
        stop_reason: the stop string or id, None for EOS.
        seed: with it and the same request, the same tokens come again.
    """

    index: int
    seed: int
    text: str = ""
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[PositionLogprobs] | None = None
    finish_reason: FinishReason | None = None
    stop_reason: int | str | None = None
    traces: list[PositionTrace] | None = None


@dataclass
class GenerationResult:
    """What one prompt gave. `.text` and `.token_ids` are those of the first output."""

    request_id: str
    prompt: str | None
    prompt_token_ids: list[int]
    outputs: list[CompletionOutput]
    prompt_logprobs: list[PositionLogprobs | None] | None = None
    num_cached_tokens: int = 0
    timing: Timing | None = None

    @property
    def text(self) -> str:
        return self.outputs[0].text

    @property
    def token_ids(self) -> list[int]:
        return self.outputs[0].token_ids

    @property
    def seed(self) -> int:
        return self.outputs[0].seed

    @property
    def finished(self) -> bool:
        return all(output.finish_reason is not None for output in self.outputs)

    def add(self, event: TokenEvent) -> None:
        """Fold one event in."""
        output = self.outputs[event.index]
        output.text += event.text
        output.token_ids.extend(event.token_ids)
        if event.logprobs is not None:
            output.logprobs = output.logprobs or []
            output.logprobs.extend(event.logprobs)
        if event.traces is not None:
            output.traces = output.traces or []
            output.traces.extend(event.traces)
        if event.finish_reason is not None:
            output.finish_reason, output.stop_reason = event.finish_reason, event.stop_reason
        if event.prompt_logprobs is not None:
            self.prompt_logprobs = list(event.prompt_logprobs)
        if event.index == 0:
            self.num_cached_tokens = max(self.num_cached_tokens, event.num_cached_tokens)
        self.timing = event.timing or self.timing
