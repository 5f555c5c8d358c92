"""A step that was launched: its work is in the device's queue, and its tokens are read when somebody asks for them."""

from __future__ import annotations

import time
from collections.abc import Sequence as Chunks
from dataclasses import dataclass, field

import torch

from aphrodite_engine.inside.hidden_states import ByLayer
from aphrodite_engine.sampling.logprobs import TopLogprobs
from aphrodite_engine.sampling.pipeline import Drawn
from aphrodite_engine.scheduler import Chunk


@dataclass
class ChunkResult:
    """What a chunk gave its sequence.

    Attributes:
        drawn: the next token, where the chunk reached the sequence's end.
        prompt_logprobs: of the prompt tokens that follow the chunk's rows, where asked for.
        hidden: (length, hidden) float32 final hidden states, for embedding requests.
        captured: what a request for hidden states gets of the chunk's tokens.
    """

    chunk: Chunk
    drawn: Drawn | None = None
    prompt_logprobs: list[TopLogprobs] = field(default_factory=list)
    hidden: torch.Tensor | None = None
    captured: ByLayer | None = None


class Draws:
    """Tokens that were drawn on the device, and their copy on its way to the host.

    Attributes:
        tokens: (R,) int64 on the device.
    """

    def __init__(self, tokens: torch.Tensor) -> None:
        self.tokens, self._host, self._arrived = tokens, tokens, None
        if tokens.is_cuda:
            self._host = torch.empty(tokens.shape, dtype=tokens.dtype, pin_memory=True)
            self._host.copy_(tokens, non_blocking=True)
            self._arrived = torch.cuda.Event()
            self._arrived.record(torch.cuda.current_stream(tokens.device))

    def read(self) -> list[int]:
        """Wait for them, but not for what was launched behind them."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._host.tolist()


@dataclass
class Flight:
    """One step on its way.

    Attributes:
        results: one a chunk; their tokens lack as long as there are `draws`.
        draws: of the results in `drawing`, in order; None where nothing is left to read.
        launched: when, on the clock of time.perf_counter.
    """

    chunks: Chunks[Chunk]
    results: list[ChunkResult]
    drawing: list[ChunkResult]
    draws: Draws | None
    launched: float = field(default_factory=time.perf_counter)

    @property
    def num_tokens(self) -> int:
        """Rows that the model computes."""
        return sum(chunk.length for chunk in self.chunks)

    def read(self) -> list[ChunkResult]:
        """What the step brought. Where it drew on the device, this is where the host waits for it."""
        if self.draws is not None:
            for result, token_id in zip(self.drawing, self.draws.read(), strict=True):
                result.drawn = Drawn(token_id, None)
            self.draws = None
        return self.results
