"""What is older than it may be is deleted, a bit at a time so that others get their turn."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from aphrodite.service.storage.batches import UNFINISHED
from aphrodite.service.storage.database import Database
from aphrodite.service.storage.files import Files

_AT_ONCE = 500
_DAY = 24 * 3600.0

_RESPONSES = f"""DELETE FROM responses WHERE sequence IN (
    SELECT sequence FROM responses WHERE created < ? LIMIT {_AT_ONCE})"""
#: A session is as old as its last message.
_SESSIONS = (
    f"""SELECT tenant, session FROM messages GROUP BY tenant, session HAVING max(created) < ? LIMIT {_AT_ONCE}"""
)
_EMPTY_CONVERSATIONS = """DELETE FROM conversations WHERE created < ? AND NOT EXISTS (
    SELECT 1 FROM messages WHERE messages.tenant = conversations.tenant AND session = conversations.id)"""
_BATCHES = f"""SELECT id FROM batches WHERE created < ? AND status NOT IN {UNFINISHED} LIMIT {_AT_ONCE}"""
_FILES = f"""SELECT tenant, id FROM files WHERE created < ? AND NOT EXISTS (
    SELECT 1 FROM batches WHERE input_file = files.id AND status IN {UNFINISHED}) LIMIT {_AT_ONCE}"""


class Retention:
    """Forgets everybody's responses, conversations, batches and files after `keep_days`; 0 keeps them."""

    def __init__(self, database: Database, files: Files, keep_days: float, clock: Callable[[], float]) -> None:
        self._database, self._files = database, files
        self._keep_days, self._clock = keep_days, clock

    async def expire(self) -> int:
        """Delete what is too old; how many things that were.

        Raises:
            ApiError: the storage fails; the next time goes on from here.
        """
        if not self._keep_days:
            return 0
        limit, count = int(self._clock() - self._keep_days * _DAY), 0
        for step in (_expire_responses, _expire_conversations, _expire_batches):
            while gone := await self._database.write(lambda connection, step=step: step(connection, limit)):
                count += gone
        return count + await self._expire_files(limit)

    async def _expire_files(self, limit: int) -> int:
        count = 0
        while old := await self._database.read(lambda connection: connection.execute(_FILES, (limit,)).fetchall()):
            for tenant, file_id in old:
                await self._files.delete(tenant, file_id)
            count += len(old)
        return count


def _expire_responses(connection: sqlite3.Connection, limit: int) -> int:
    return connection.execute(_RESPONSES, (limit,)).rowcount


def _expire_conversations(connection: sqlite3.Connection, limit: int) -> int:
    sessions = connection.execute(_SESSIONS, (limit,)).fetchall()
    connection.executemany("DELETE FROM messages WHERE tenant = ? AND session = ?", sessions)
    return len(sessions) + connection.execute(_EMPTY_CONVERSATIONS, (limit,)).rowcount


def _expire_batches(connection: sqlite3.Connection, limit: int) -> int:
    batches = connection.execute(_BATCHES, (limit,)).fetchall()
    connection.executemany("DELETE FROM batch_lines WHERE batch = ?", batches)
    connection.executemany("DELETE FROM batches WHERE id = ?", batches)
    return len(batches)
