"""What a running request gives, as a cell takes it: in handfuls."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:  # the client takes a moment to import that only the first request pays
    from aphrodite.client.async_client import AsyncClient
    from aphrodite.client.client import Client

T = TypeVar("T")

#: How long close() waits for the request's end, which takes milliseconds.
_CLOSE_SECONDS = 1.0


class Feed(Generic[T]):
    """Reads in the client's own thread while the cell shows what came before.

    A token at a time would switch threads twice for each, and show more often than anybody can see.

    Args:
        source: makes the generator that is read; closing it aborts the request.

    Attributes:
        items: all that came, also what no handful has held yet.
    """

    def __init__(self, client: Client, source: Callable[[AsyncClient], AsyncGenerator[T]]) -> None:
        self.items: list[T] = []
        self._client, self._source = client, source
        self._news, self._ended = threading.Event(), threading.Event()
        self._reading: concurrent.futures.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False

    @property
    def has_ended(self) -> bool:
        """Whether nothing more comes."""
        return self._ended.is_set()

    def __iter__(self) -> Iterator[list[T]]:
        """What came since the last time; waits until something did.

        Raises:
            ClientError: the request failed.
        """
        self._reading = self._client.start(lambda remote: self._read(self._source(remote)))
        taken, is_last = 0, False
        while not is_last:
            self._news.wait()
            self._news.clear()
            is_last = self.has_ended
            handful = self.items[taken:]
            taken += len(handful)
            yield handful
        self._check()

    def rest(self, seconds: float) -> None:
        """Let some gather; the end is not waited past."""
        self._ended.wait(seconds)

    def close(self) -> None:
        """Abort the request, and wait until the engine was told.

        An interrupt can come before the reading has begun, or before we know that it has: then it ends itself.
        """
        self._is_closed = True
        task = self._task
        if task is not None and not self.has_ended:
            task.get_loop().call_soon_threadsafe(task.cancel)
            self._ended.wait(_CLOSE_SECONDS)

    def _check(self) -> None:
        from aphrodite.client.errors import ClientClosed

        assert self._reading is not None
        try:
            self._reading.result()
        except concurrent.futures.CancelledError:
            raise ClientClosed from None

    async def _read(self, source: AsyncGenerator[T]) -> None:
        self._task = asyncio.current_task()
        if self._is_closed:
            return
        try:
            async for item in source:
                self.items.append(item)
                self._news.set()
        finally:
            try:
                await source.aclose()
            finally:
                self._ended.set()
                self._news.set()
