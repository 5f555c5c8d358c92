"""Stored files: a row each, and the bytes in a folder under the file's own id."""

from __future__ import annotations

import asyncio
import os
import secrets
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

from aphrodite.service.storage.database import Database
from aphrodite.service.storage.faults import storage_error
from aphrodite.service.storage.pages import PageRequest, Rows, page_of
from aphrodite.service.storage.quota import Quota

T = TypeVar("T")

#: Bytes without a row are what a service that died left behind, once nobody can be writing them any more.
_ABANDONED_SECONDS = 24 * 3600.0
_PARTIAL = ".partial"


@dataclass(frozen=True)
class StoredFile:
    """A row."""

    id: str
    created: int
    filename: str
    purpose: str
    bytes: int


class Files:
    """Every method wants a tenant, and another tenant's file does not exist."""

    def __init__(self, database: Database, folder: Path, quota: Quota, clock: Callable[[], float]) -> None:
        self._database, self._folder, self._quota, self._clock = database, folder, quota, clock

    async def begin(self) -> Incoming:
        """A new file, to be written piece by piece.

        Raises:
            ApiError: 507.
        """
        return await on_disk(lambda: Incoming(self._folder))

    async def keep(
        self, tenant: str, incoming: Incoming, filename: str, purpose: str, file_id: str | None = None
    ) -> StoredFile:
        """Finish what was written: on the disk first, then in the table.

        Args:
            file_id: of a file of the service's own making, which counts but is never too much; one that is already
                there is replaced.

        Raises:
            ApiError: 403 the tenant keeps enough, 507.
        """
        if file_id is None:
            await self._database.read(lambda connection: self._check(connection, tenant, incoming.size))
        stored = StoredFile(file_id or new_id(), int(self._clock()), filename, purpose, incoming.size)
        await on_disk(lambda: incoming.finish(self._path(stored.id)))
        await self._database.write(lambda connection: _insert(connection, tenant, stored))
        return stored

    def _check(self, connection: sqlite3.Connection, tenant: str, num_bytes: int) -> None:
        self._quota.check(connection, tenant, "files", 1, num_bytes)

    async def get(self, tenant: str, file_id: str) -> StoredFile | None:
        return await self._database.read(lambda connection: find(connection, tenant, file_id))

    async def page(self, tenant: str, purpose: str | None, page: PageRequest) -> Rows | None:
        """Some of a tenant's files."""
        where, values = "tenant = ?", (tenant,)
        if purpose is not None:
            where, values = "tenant = ? AND purpose = ?", (tenant, purpose)
        found = await self._database.read(
            lambda connection: page_of(connection, "files", _COLUMNS, where, values, page)
        )
        return found and Rows([StoredFile(*row) for row in found.rows], found.has_more)

    async def delete(self, tenant: str, file_id: str) -> bool:
        """Forget one; False where there is none."""
        found = await self._database.write(
            lambda connection: (
                connection.execute("DELETE FROM files WHERE tenant = ? AND id = ?", (tenant, file_id)).rowcount > 0
            )
        )
        if found:
            await on_disk(lambda: self._path(file_id).unlink(missing_ok=True))
        return found

    async def open(self, file_id: str) -> BinaryIO:
        """The bytes of a file that get() has found."""
        return await on_disk(lambda: self.open_now(file_id))

    def open_now(self, file_id: str) -> BinaryIO:
        """The same, in a thread of the caller's."""
        return os.fdopen(os.open(self._path(file_id), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")

    async def sweep(self) -> None:
        """Remove bytes that no row names and that are old enough to be nobody's."""
        names = await on_disk(self._abandoned)
        for name in names:
            found = await self._database.read(
                lambda connection, name=name: connection.execute("SELECT 1 FROM files WHERE id = ?", (name,)).fetchone()
            )
            if found is None:
                await on_disk(lambda name=name: (self._folder / name).unlink(missing_ok=True))

    def _abandoned(self) -> list[str]:
        if not self._folder.is_dir():
            return []
        limit = time.time() - _ABANDONED_SECONDS
        return [entry.name for entry in os.scandir(self._folder) if entry.stat(follow_symlinks=False).st_mtime < limit]

    def _path(self, file_id: str) -> Path:
        return self._folder / file_id


class Incoming:
    """A file that is being written; nobody sees it before it is whole. Its methods block."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self.size = 0
        self._path = folder / (secrets.token_hex(12) + _PARTIAL)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.fdopen(os.open(self._path, flags, 0o600), "wb")

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self.size += len(data)

    def finish(self, path: Path) -> None:
        """Have it on the disk, under its name."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._path.rename(path)

    def discard(self) -> None:
        """Leave nothing behind; harmless once it is finished."""
        self._path.unlink(missing_ok=True)
        try:
            self._file.close()
        except OSError as error:  # what is still buffered finds no room: it is thrown away in any case
            storage_error(error)


def new_id() -> str:
    return "file-" + secrets.token_hex(12)


async def on_disk(work: Callable[[], T]) -> T:
    """`work`, in a thread; what the disk refuses is a 507."""
    try:
        return await asyncio.to_thread(work)
    except OSError as error:
        raise storage_error(error) from error


_COLUMNS = "id, created, filename, purpose, bytes"


def find(connection: sqlite3.Connection, tenant: str, file_id: str) -> StoredFile | None:
    """Inside a transaction: one of a tenant's files."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM files WHERE tenant = ? AND id = ?", (tenant, file_id)).fetchone()
    return row and StoredFile(*row)


def _insert(connection: sqlite3.Connection, tenant: str, stored: StoredFile) -> None:
    connection.execute(
        "INSERT INTO files (tenant, id, created, filename, purpose, bytes) VALUES (?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (tenant, id) DO UPDATE SET created = excluded.created, bytes = excluded.bytes",
        (tenant, stored.id, stored.created, stored.filename, stored.purpose, stored.bytes),
    )
