"""A request while it runs: its sequences, its times, and what is collected for it along the way."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import torch

from aphrodite_engine.inside.hidden_states import ByLayer
from aphrodite_engine.outputs import PositionLogprobs, Timing
from aphrodite_engine.request import Request, Sequence
from aphrodite_engine.sequence_text import News


@dataclass(eq=False)
class Job:
    """An engine's bookkeeping of one request.

    Attributes:
        created, first_step, first_token: on the clock of time.perf_counter; None has not been yet.
        unfinished: how many of the sequences.
        given: what the tokens brought that a continuation begins with.
    """

    request: Request
    created: float
    sequences: list[Sequence]
    unfinished: int
    first_step: float | None = None
    first_token: float | None = None
    prompt_logprobs: list[PositionLogprobs | None] = field(default_factory=list)
    hidden: list[torch.Tensor] = field(default_factory=list)
    captured: list[ByLayer] = field(default_factory=list)
    given: list[News] = field(default_factory=list)

    @property
    def timing(self) -> Timing:
        """Up to now."""
        now = time.perf_counter()
        return Timing(
            queue_ms=1e3 * ((self.first_step or now) - self.created),
            ttft_ms=1e3 * ((self.first_token or now) - self.created),
            total_ms=1e3 * (now - self.created),
        )

    def prompt_logprobs_with(self, sequence: Sequence) -> tuple[PositionLogprobs | None, ...] | None:
        """Those of the whole prompt, with the first sequence's news; None while they are incomplete."""
        complete = len(self.prompt_logprobs) == sequence.prompt_len
        return tuple(self.prompt_logprobs) if complete and sequence.index == 0 else None
