"""Several streams as one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class _End:
    error: Exception | None = None


async def merged(sources: Sequence[AsyncGenerator[T]]) -> AsyncGenerator[T]:
    """What any of them gives, as it comes. The first error ends all of them.

    One item a source waits at most, so that who reads slowly is noticed where the items are made.
    """
    queue: asyncio.Queue[T | _End] = asyncio.Queue(maxsize=len(sources))
    pumps = [asyncio.create_task(_pump(source, queue)) for source in sources]
    try:
        unfinished = len(pumps)
        while unfinished:
            item = await queue.get()
            if not isinstance(item, _End):
                yield item
            elif item.error is not None:
                raise item.error
            else:
                unfinished -= 1
    finally:
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


async def _pump(source: AsyncGenerator[T], queue: asyncio.Queue[T | _End]) -> None:
    error = None
    try:
        async for item in source:
            await queue.put(item)
    except Exception as raised:  # handed on, and raised where the items are read
        error = raised
    await queue.put(_End(error))
