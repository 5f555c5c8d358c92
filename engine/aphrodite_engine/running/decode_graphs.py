"""Steps of decoding as CUDA graphs: one launch in place of some hundred. The graphs differ in their number of rows; a
step takes the next larger one and leaves the rows beyond its own to nobody."""

from __future__ import annotations

import bisect
from collections.abc import Callable
from collections.abc import Sequence as Chunks
from functools import cache
from typing import Protocol

import torch

from aphrodite_engine.loading.memory import CAPTURING
from aphrodite_engine.models.base import Decoder, KVTensors
from aphrodite_engine.running.decode_state import DecodeState
from aphrodite_engine.scheduler import Chunk

Step = Callable[[], object]


class Capture(Protocol):
    """Makes of a step that reads and writes the same tensors each time what repeats it."""

    def __call__(self, step: Step) -> Step: ...


class CudaCapture:
    """Captures into one memory pool: graphs that run one after the other, and hand nothing on but what lies outside of
    it, may use the same memory."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._pool = device, torch.cuda.graph_pool_handle()

    def __call__(self, step: Step) -> Step:
        graph, stream, current = torch.cuda.CUDAGraph(), _stream(self._device), torch.cuda.current_stream(self._device)
        with CAPTURING:
            stream.wait_stream(current)
            with torch.cuda.stream(stream):
                step()  # compiles and loads kernels, and lets libraries take their memory: no capture may do that
            current.wait_stream(stream)
            # thread_local: other threads, of another engine maybe, may take memory meanwhile.
            with torch.cuda.graph(graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"):
                step()
        return graph.replay


@cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """Where captures run: on the default stream there are none. One for all engines of a process, since
    cuBLAS keeps a workspace for every stream that it has seen."""
    return torch.cuda.Stream(device)


class DecodeGraphs:
    """Logits of steps in which every sequence decodes one token."""

    def __init__(self, model: Decoder, kv: KVTensors, state: DecodeState, capture: Capture) -> None:
        self._model, self._kv, self._state, self._capture = model, kv, state, capture
        self._sizes = sizes(state.num_rows)
        self._replays: dict[int, Step] = {}
        shape = (state.num_rows, model.config.vocab_size)
        self._logits = torch.empty(shape, dtype=torch.float32, device=state.token_ids.device)

    @property
    def captured(self) -> tuple[int, ...]:
        """Numbers of rows for which there is a graph."""
        return tuple(self._replays)

    @property
    def num_rows(self) -> int:
        """Of the largest step."""
        return self._state.num_rows

    def logits(self, chunks: Chunks[Chunk], front: torch.Tensor | None) -> torch.Tensor:
        """(len(chunks), V) float32, which the next call overwrites; see DecodeState.place."""
        self._state.place(chunks, front)
        self._replay(self._sizes[bisect.bisect_left(self._sizes, len(chunks))])()
        return self._logits[: len(chunks)]

    def _replay(self, num_rows: int) -> Step:
        if not self._replays:
            # The largest first: all others find room in its memory, where growing ones would each take more.
            self._replays[self._sizes[-1]] = self._capture(lambda: self._step(self._sizes[-1]))
        if num_rows not in self._replays:
            self._replays[num_rows] = self._capture(lambda: self._step(num_rows))
        return self._replays[num_rows]

    @torch.inference_mode()
    def _step(self, num_rows: int) -> None:
        hidden = self._model.forward(self._state.batch(num_rows), self._kv)
        self._model.logits(hidden, out=self._logits[:num_rows])


def sizes(most: int) -> list[int]:
    """1, 2, 4, and every 8 up to `most`, which is one too: at most 7 rows of a large step are nobody's."""
    return [size for size in (1, 2, 4, *range(8, most, 8)) if size < most] + [most]
