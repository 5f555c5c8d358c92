"""An event loop in a thread of its own: synchronous calls work anywhere, inside a running event loop too."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from typing import Any, Generic, TypeVar

from aphrodite.client.errors import ClientClosed

T = TypeVar("T")

_JOIN_SECONDS = 5.0
_TICK_SECONDS = 0.1


class LoopThread:
    """Runs coroutines for callers that are not asynchronous, or live in another loop.

    Args:
        last: awaited in the loop before it ends.
    """

    def __init__(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=_run, args=(self._loop,), name="aphrodite-client", daemon=True)
        self._thread.start()
        # One that is dropped without stop() still ends its thread.
        self._stop = weakref.finalize(self, _stop, self._loop, self._thread, last)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result; an interrupt while waiting cancels the work.

        Raises:
            ClientClosed: after stop(), or because of it.
        """
        future = self.start(work)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise ClientClosed from None
        finally:
            future.cancel()

    async def join(self, work: Coroutine[Any, Any, T]) -> T:
        """The same from a coroutine of any loop; cancelling it cancels the work."""
        future = asyncio.wrap_future(self.start(work))
        try:
            while not future.done():
                # ipykernel's interrupt cancels from a signal handler, which does not wake a loop that sleeps.
                await asyncio.wait([future], timeout=_TICK_SECONDS)
            return future.result()
        finally:
            future.cancel()

    @property
    def is_stopped(self) -> bool:
        return not self._stop.alive

    def stop(self) -> None:
        """Cancel what runs and end the thread. May be called twice."""
        self._stop()

    def start(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Begin and do not wait; cancelling the future cancels the work.

        Raises:
            ClientClosed: after stop().
        """
        if self.is_stopped:
            work.close()
            raise ClientClosed
        return asyncio.run_coroutine_threadsafe(work, self._loop)


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()
    loop.close()


def _stop(
    loop: asyncio.AbstractEventLoop, thread: threading.Thread, last: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    ending = asyncio.run_coroutine_threadsafe(_end(last), loop)
    ending.add_done_callback(lambda _: loop.call_soon_threadsafe(loop.stop))
    if thread is not threading.current_thread():  # garbage is collected in any thread
        thread.join(_JOIN_SECONDS)


async def _end(last: Callable[[], Coroutine[Any, Any, None]]) -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()
    await last()


class Stream(Iterator[T], Generic[T]):
    """What comes, as it comes. Leaving its `with`, closing it or dropping it aborts the request."""

    def __init__(self, thread: LoopThread, pieces: AsyncGenerator[T]) -> None:
        self._thread, self._pieces = thread, _Turns(pieces)

    def __next__(self) -> T:
        try:
            return self._thread.run(self._pieces.next())
        except StopAsyncIteration:
            raise StopIteration from None

    def close(self) -> None:
        """Hang up."""
        if not self._thread.is_stopped:
            self._thread.run(self._pieces.close())

    def __enter__(self) -> Stream[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


async def relay(thread: LoopThread, pieces: AsyncGenerator[T]) -> AsyncGenerator[T]:
    """An asynchronous iterator of the thread's loop, for coroutines of any loop."""
    turns = _Turns(pieces)
    try:
        while True:
            try:
                piece = await thread.join(turns.next())
            except StopAsyncIteration:
                return
            yield piece
    finally:
        if not thread.is_stopped:
            await thread.join(turns.close())


class _Turns(Generic[T]):
    """An asynchronous generator that is asked one thing at a time: a cancelled step may still be ending at close()."""

    def __init__(self, pieces: AsyncGenerator[T]) -> None:
        self._pieces, self._turn = pieces, asyncio.Lock()

    async def next(self) -> T:
        async with self._turn:
            return await anext(self._pieces)

    async def close(self) -> None:
        async with self._turn:
            await self._pieces.aclose()
