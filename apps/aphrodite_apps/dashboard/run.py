"""One request of the page while it is answered: read as it comes, shown at most 20 times a second, stoppable."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable

from aphrodite_engine.errors import AphroditeError
from aphrodite_engine.outputs import CompletionOutput, GenerationResult, TokenEvent

#: Makes a run stoppable, and yields while it has news.
Follow = Callable[["Run"], AsyncGenerator[None]]
#: Seconds between two updates of the page.
PAUSE = 0.05


class Run:
    """A stream of the client, folded into a result.

    Attributes:
        error: why it ended early, in one line; None where it did not, or was stopped.
        seconds: since it began; fixed at its end.
    """

    def __init__(self, events: AsyncGenerator[TokenEvent]) -> None:
        self.result = GenerationResult("", None, [], [CompletionOutput(0, 0)])
        self.error: str | None = None
        self._began = time.monotonic()
        self._ended: float | None = None
        self._reading = asyncio.create_task(self._read(events))

    @property
    def output(self) -> CompletionOutput:
        return self.result.outputs[0]

    @property
    def is_over(self) -> bool:
        return self._ended is not None

    @property
    def seconds(self) -> float:
        return (self._ended or time.monotonic()) - self._began

    def stop(self) -> None:
        """End it: the client hangs up, and the engine aborts it. What has come stays."""
        self._reading.cancel()

    async def updates(self) -> AsyncGenerator[None]:
        """Yields when there is something new to show, and once more at the end. Leaving it stops the run."""
        try:
            shown = -1
            while not self._reading.done():
                await asyncio.wait({self._reading}, timeout=PAUSE)
                if len(self.output.token_ids) != shown and not self._reading.done():
                    shown = len(self.output.token_ids)
                    yield
            yield
        finally:
            self.stop()
            await asyncio.wait({self._reading})

    async def _read(self, events: AsyncGenerator[TokenEvent]) -> None:
        try:
            async for event in events:
                self.result.add(event)
                self.output.seed = event.seed
        except AphroditeError as error:
            self.error = " ".join(str(error).split())
        except asyncio.CancelledError:
            self.output.finish_reason = "abort"
        finally:
            await events.aclose()
            self._ended = time.monotonic()


class Runs:
    """What runs for each open page, so that its stop button finds it; one a tab of a page."""

    def __init__(self) -> None:
        self._running: dict[str, Run] = {}

    async def follow(self, name: str, run: Run) -> AsyncGenerator[None]:
        """The run's updates; until its end it can be stopped by this name."""
        self.stop(name)
        self._running[name] = run
        try:
            async for _ in run.updates():
                yield
        finally:
            run.stop()
            if self._running.get(name) is run:
                del self._running[name]

    def stop(self, name: str) -> None:
        """End what runs under this name, if anything does."""
        if (run := self._running.get(name)) is not None:
            run.stop()

    def stop_all(self, page: str) -> None:
        """End what runs for a page that was closed; names begin with their page."""
        for name in [name for name in self._running if name.startswith(page)]:
            self.stop(name)
