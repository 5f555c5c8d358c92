"""One SQLite file, one connection, one thread that uses it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from aphrodite.service.storage.faults import storage_error
from aphrodite.service.storage.instance import Instance
from aphrodite.service.storage.schema import MIGRATIONS

T = TypeVar("T")

Work = Callable[[sqlite3.Connection], T]

#: How long another service on the same file may hold it up.
_BUSY_SECONDS = 10.0


class Database:
    """Opened at the first use, and again after a failure: a disk that was full is tried anew.

    `synchronous=NORMAL` with a write-ahead log: what was committed survives the death of the process; when the whole
    machine loses power the last transactions may be gone, the file stays whole.
    """

    def __init__(self, path: Path) -> None:
        self.instance = Instance(path.parent / "instances")
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="aphrodite-storage")

    async def read(self, work: Work[T]) -> T:
        """What `work` finds, all of it as of one moment.

        Raises:
            ApiError: 507 the storage cannot be used, 503 somebody else holds it up.
        """
        return await self._submit("BEGIN", work)

    async def write(self, work: Work[T]) -> T:
        """The same for work that changes something: all of it, or nothing."""
        return await self._submit("BEGIN IMMEDIATE", work)

    async def close(self) -> None:
        """Finish what is queued and close the file."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    async def _submit(self, begin: str, work: Work[T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._transaction, begin, work)

    def _transaction(self, begin: str, work: Work[T]) -> T:
        try:
            connection = self._opened()
            with _transaction(connection, begin):
                return work(connection)
        except (sqlite3.Error, OSError) as error:
            self._forget_connection()
            raise storage_error(error) from error

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self.instance.claim()
            with self.instance.alone():  # SQLite does not wait its turn while a file becomes one with a log
                self._connection = self._open()
        return self._connection

    def _open(self) -> sqlite3.Connection:
        # Made first, so that it is never readable by others; its companions get the same mode from SQLite.
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None)
        with _closed_on_error(connection):
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            _migrate(connection)
        return connection

    def _forget_connection(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _close(self) -> None:
        self._forget_connection()
        self.instance.release()


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection, begin: str) -> Iterator[None]:
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite has already rolled back after some errors
            connection.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def _closed_on_error(connection: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        connection.close()
        raise


def _migrate(connection: sqlite3.Connection) -> None:
    with _transaction(connection, "BEGIN"):
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise sqlite3.DatabaseError(f"the file is of version {version}, newer than this program ({len(MIGRATIONS)})")
    if version == len(MIGRATIONS):
        return
    with _transaction(connection, "BEGIN IMMEDIATE"):
        (version,) = connection.execute("PRAGMA user_version").fetchone()  # another service may have been faster
        for step in MIGRATIONS[version:]:
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
