"""Bars on standard error, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from tqdm.auto import tqdm

from aphrodite_engine.outputs import TokenEvent
from aphrodite_engine.request import Request

#: Called with (bytes of weights read, bytes in all), maybe from several threads.
Report = Callable[[int, int], None]


@contextmanager
def loading_report(model: str, progress: bool | Report) -> Iterator[Report | None]:
    """Yields what a loader calls: a bar for True, nothing for False, else the caller's own function."""
    if not isinstance(progress, bool):
        yield progress
        return
    if not progress:
        yield None
        return
    with tqdm(total=0, unit="B", unit_scale=True, unit_divisor=1024, desc=f"loading {model}", leave=False) as bar:

        def report(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield report


class GenerationProgress:
    """Counts output tokens; the total is the most there can be, and shrinks as sequences end early."""

    def __init__(self, requests: Sequence[Request], max_model_len: int, *, enabled: bool) -> None:
        self._limits = {
            r.request_id: min(r.params.max_tokens or max_model_len, max_model_len - len(r.prompt_token_ids))
            for r in requests
        }
        self._done: dict[tuple[str, int], int] = {}
        total = sum(self._limits[r.request_id] * r.params.n for r in requests)
        self._bar = tqdm(total=total, unit="tok", desc="generating", disable=not enabled)

    def __enter__(self) -> GenerationProgress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def update(self, event: TokenEvent) -> None:
        """Count one event."""
        key = (event.request_id, event.index)
        self._done[key] = self._done.get(key, 0) + len(event.token_ids)
        self._bar.update(len(event.token_ids))
        if event.finish_reason is not None and self._bar.total is not None:
            self._bar.total -= self._limits[event.request_id] - self._done[key]
