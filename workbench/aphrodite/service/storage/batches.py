"""Stored batches: one row each; what their lines came to is in batch_lines."""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import msgspec

from aphrodite.service.access import User
from aphrodite.service.storage.database import Database
from aphrodite.service.storage.pages import PageRequest, Rows, page_of
from aphrodite.service.storage.quota import Quota

#: The states of a batch that somebody still has to work on.
UNFINISHED = ("validating", "in_progress", "cancelling", "finalizing")
#: Batches of one tenant that may be unfinished at a time.
MAX_UNFINISHED = 64


class BatchError(msgspec.Struct):
    """Why a batch as a whole failed."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


class BatchDetails(msgspec.Struct):
    """What is only shown.

    Attributes:
        model: of the first line that names one.
        ending: the state that follows "finalizing".
        times: when it reached its states: in_progress_at and so on.
    """

    metadata: dict[str, str] | None = None
    model: str | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    errors: list[BatchError] = []
    ending: str = "completed"
    times: dict[str, int] = {}


@dataclass(frozen=True)
class StoredBatch:
    """A row.

    Attributes:
        owner: the instance that runs it.
        user: name of the key that asked.
        input_tokens, cached_tokens, output_tokens, reasoning_tokens: of the answers so far.
    """

    id: str
    tenant: str
    owner: str
    status: str
    user: str
    endpoint: str
    input_file: str
    created: int
    expires: int
    total: int
    completed: int
    failed: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int
    details: BatchDetails


class TooManyBatches(Exception):
    """The tenant has enough of them unfinished."""


_NAMES = tuple(field.name for field in fields(StoredBatch))
_COLUMNS = ", ".join(_NAMES)
_STATES = ", ".join("?" * len(UNFINISHED))


class Batches:
    """What callers ask for wants a tenant, and another tenant's batch does not exist; what the runner does, does not.

    Attributes:
        clock: Unix time.
        changed: set when there is something new for the runner.
    """

    def __init__(self, database: Database, quota: Quota, clock: Callable[[], float]) -> None:
        self._database, self._quota, self.clock = database, quota, clock
        self.changed = asyncio.Event()

    async def create(
        self, user: User, endpoint: str, input_file: str, seconds: int, metadata: dict[str, str] | None
    ) -> StoredBatch:
        """A batch to be run by this service.

        Raises:
            TooManyBatches: see MAX_UNFINISHED.
            ApiError: 403 the tenant keeps enough.
        """
        now = int(self.clock())
        batch_id = "batch_" + secrets.token_hex(12)

        def work(connection: sqlite3.Connection) -> StoredBatch:
            made = StoredBatch(
                batch_id, user.tenant, self._database.instance.id, "validating", user.name, endpoint,
                input_file, now, now + seconds, 0, 0, 0, 0, 0, 0, 0, BatchDetails(metadata),
            )  # fmt: skip
            self._quota.check(connection, user.tenant, "batches", 1, 0)
            _insert(connection, made)
            return made

        made = await self._database.write(work)
        self.changed.set()
        return made

    async def get(self, tenant: str, batch_id: str) -> StoredBatch | None:
        found = await self._database.read(lambda connection: _find(connection, batch_id))
        return found if found is not None and found.tenant == tenant else None

    async def page(self, tenant: str, page: PageRequest) -> Rows | None:
        """Some of a tenant's batches."""
        found = await self._database.read(
            lambda connection: page_of(connection, "batches", _COLUMNS, "tenant = ?", (tenant,), page)
        )
        return found and Rows([_stored(row) for row in found.rows], found.has_more)

    async def cancel(self, tenant: str, batch_id: str) -> StoredBatch | None:
        """Ask for its end, where it is not ending anyhow; the batch as it then is."""

        def work(connection: sqlite3.Connection) -> StoredBatch | None:
            found = _find(connection, batch_id)
            if found is None or found.tenant != tenant or found.status not in ("validating", "in_progress"):
                return found if found is not None and found.tenant == tenant else None
            return _save(connection, at(found, "cancelling", self.clock()))

        found = await self._database.write(work)
        self.changed.set()
        return found

    async def uses(self, tenant: str, file_id: str) -> str | None:
        """An unfinished batch that reads this file."""
        row = await self._database.read(
            lambda connection: connection.execute(
                f"SELECT id FROM batches WHERE tenant = ? AND input_file = ? AND status IN ({_STATES})",
                (tenant, file_id, *UNFINISHED),
            ).fetchone()
        )
        return row and row[0]

    # ---- for the runner

    async def unfinished(self) -> list[StoredBatch]:
        """Everybody's, the oldest first."""
        rows = await self._database.read(
            lambda connection: connection.execute(
                f"SELECT {_COLUMNS} FROM batches WHERE status IN ({_STATES}) ORDER BY sequence", UNFINISHED
            ).fetchall()
        )
        return [_stored(row) for row in rows]

    def is_ours(self, batch: StoredBatch) -> bool:
        return batch.owner == self._database.instance.id

    def is_orphan(self, batch: StoredBatch) -> bool:
        """Whether the service that ran it is gone."""
        return not self._database.instance.is_alive(batch.owner)

    async def adopt(self, batch: StoredBatch) -> StoredBatch | None:
        """Take over from an owner who is gone; None where another service was faster."""

        def work(connection: sqlite3.Connection) -> StoredBatch | None:
            ours = self._database.instance.id
            taken = connection.execute(
                "UPDATE batches SET owner = ? WHERE id = ? AND owner = ?", (ours, batch.id, batch.owner)
            ).rowcount
            return _find(connection, batch.id) if taken else None

        return await self._database.write(work)

    async def advance(self, batch: StoredBatch, status: str) -> StoredBatch:
        """Bring it to its next state with the details it has here, unless somebody cancelled it meanwhile: then the
        batch as it was left."""

        def work(connection: sqlite3.Connection) -> StoredBatch:
            stored = _find(connection, batch.id)
            assert stored is not None, "an unfinished batch is never deleted"
            if stored.status == "cancelling" and batch.status != "cancelling":
                return stored
            news = replace(stored, details=msgspec.structs.replace(batch.details, times=stored.details.times))
            return _save(connection, at(news, status, self.clock()))

        return await self._database.write(work)


def at(batch: StoredBatch, status: str, now: float) -> StoredBatch:
    """The batch in a state that it reaches now."""
    times = {**batch.details.times, f"{status}_at": int(now)}
    return replace(batch, status=status, details=msgspec.structs.replace(batch.details, times=times))


def _find(connection: sqlite3.Connection, batch_id: str) -> StoredBatch | None:
    row = connection.execute(f"SELECT {_COLUMNS} FROM batches WHERE id = ?", (batch_id,)).fetchone()
    return row and _stored(row)


def _save(connection: sqlite3.Connection, batch: StoredBatch) -> StoredBatch:
    connection.execute(
        "UPDATE batches SET status = ?, details = ? WHERE id = ?",
        (batch.status, msgspec.json.encode(batch.details), batch.id),
    )
    return batch


def _insert(connection: sqlite3.Connection, batch: StoredBatch) -> None:
    (count,) = connection.execute(
        f"SELECT count(*) FROM batches WHERE tenant = ? AND status IN ({_STATES})", (batch.tenant, *UNFINISHED)
    ).fetchone()
    if count >= MAX_UNFINISHED:
        raise TooManyBatches
    values = [getattr(batch, name) for name in _NAMES[:-1]] + [msgspec.json.encode(batch.details)]
    connection.execute(f"INSERT INTO batches ({_COLUMNS}) VALUES ({', '.join('?' * len(values))})", values)


def _stored(row: tuple[Any, ...]) -> StoredBatch:
    named = dict(zip(_NAMES, row, strict=True))
    return StoredBatch(**{**named, "details": msgspec.json.decode(named["details"], type=BatchDetails)})
