"""Answers by their callers' `Idempotency-Key`: a request that is sent twice is done once."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from aphrodite.service.errors import ApiError
from aphrodite.service.http.replies import Reply

SECONDS = 600.0
MAX_BYTES = 64 * 2**20
MAX_ENTRIES = 4096

#: Tenant, path, and the caller's key: nobody meets another's answers.
Name = tuple[str, str, str]


@dataclass(eq=False)
class Entry:
    """A request that was sent with a key.

    Attributes:
        digest: of its body.
        ended: set when it is no longer running.
        reply: its answer, where it succeeded; None while it runs, and where there is nothing to repeat.
    """

    digest: bytes
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    reply: Reply | None = None
    until: float = 0.0

    @property
    def repeated(self) -> Reply | None:
        """The answer once more."""
        if self.reply is None:
            return None
        again = Reply(self.reply.body, self.reply.status)
        again.headers = self.reply.headers | {"idempotency-replayed": "true"}
        return again


class Repeats:
    """The requests that run, and the answers of those that have succeeded, for a while.

    Args:
        seconds: how long an answer is kept.
        max_bytes: all kept answers together; the oldest go first, and one over a quarter of it is not kept.
    """

    def __init__(
        self,
        seconds: float = SECONDS,
        max_bytes: int = MAX_BYTES,
        max_entries: int = MAX_ENTRIES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds, self._max_bytes, self._max_entries, self._clock = seconds, max_bytes, max_entries, clock
        self._running: dict[Name, Entry] = {}
        self._kept: OrderedDict[Name, Entry] = OrderedDict()
        self._bytes = 0

    def find(self, name: Name, digest: bytes) -> Entry | None:
        """The same request, running or answered; None where this is the first.

        Raises:
            ApiError: 422 where the key came with another body.
        """
        self._drop_old()
        entry = self._running.get(name) or self._kept.get(name)
        if entry is not None and entry.digest != digest:
            raise ApiError(
                422, "this Idempotency-Key was used with another body; a new request needs a new key",
                code="idempotency_key_reused",
            )  # fmt: skip
        return entry

    def begin(self, name: Name, digest: bytes) -> Entry:
        """A request that runs from now on, until end()."""
        entry = self._running[name] = Entry(digest)
        return entry

    def end(self, name: Name, reply: object) -> None:
        """It has ended; its answer is kept where it is whole and a success: errors may pass, streams are gone."""
        entry = self._running.pop(name)
        if isinstance(reply, Reply) and reply.status < 300 and len(reply.body) <= self._max_bytes // 4:
            entry.reply, entry.until = reply, self._clock() + self._seconds
            self._kept[name] = entry
            self._bytes += len(reply.body)
            self._drop_old()
        entry.ended.set()

    def _drop_old(self) -> None:
        now = self._clock()
        while self._kept and (
            self._bytes > self._max_bytes
            or len(self._kept) > self._max_entries
            or next(iter(self._kept.values())).until <= now
        ):
            _, entry = self._kept.popitem(last=False)
            assert entry.reply is not None
            self._bytes -= len(entry.reply.body)
