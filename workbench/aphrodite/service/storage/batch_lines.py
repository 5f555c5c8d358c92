"""The lines of batches that are being worked on: where each lies in its input file, and what it came to.

A line's result is stored once, in the transaction that counts it; the output file is written from these rows. That is
what makes a batch resumable: what has no result is to be done, whoever died in between.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from aphrodite.service.storage.database import Database

_PAGE_BYTES = 2**20
_FORGOTTEN_AT_ONCE = 10_000


@dataclass(frozen=True)
class Line:
    """One line of an input file; `number` counts from 1, `start` and `length` are bytes."""

    number: int
    start: int
    length: int
    custom_id: str | None


@dataclass(frozen=True)
class Tokens:
    """What an answer took, as its usage says: `cached` are of `input`, `reasoning` of `output`."""

    input: int = 0
    cached: int = 0
    output: int = 0
    reasoning: int = 0


@dataclass(frozen=True)
class Result:
    """What a line came to: one line of the output file, or of the error file."""

    number: int
    succeeded: bool
    text: bytes
    tokens: Tokens = Tokens()


class BatchLines:
    """Rows by batch; only the runner uses them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, batch: str, lines: Sequence[Line]) -> list[Line]:
        """Store lines; those whose custom_id was there before are stored without it, and returned."""
        return await self._database.write(
            lambda connection: [line for line in lines if not _add(connection, batch, line)]
        )

    async def count(self, batch: str) -> int:
        """Set the batch's total to the number of its lines; that number."""

        def work(connection: sqlite3.Connection) -> int:
            (total,) = connection.execute("SELECT count(*) FROM batch_lines WHERE batch = ?", (batch,)).fetchone()
            connection.execute("UPDATE batches SET total = ? WHERE id = ?", (total, batch))
            return total

        return await self._database.write(work)

    async def to_do(self, batch: str, after: int, limit: int) -> list[Line]:
        """The next lines behind line `after` that have no result yet."""
        rows = await self._database.read(
            lambda connection: connection.execute(
                "SELECT line, start, length, custom_id FROM batch_lines "
                "WHERE batch = ? AND line > ? AND succeeded IS NULL ORDER BY line LIMIT ?",
                (batch, after, limit),
            ).fetchall()
        )
        return [Line(*row) for row in rows]

    async def put(self, batch: str, results: Sequence[Result]) -> None:
        """Store results and count them; a line that has one already keeps it."""
        await self._database.write(lambda connection: _put(connection, batch, results))

    async def results(self, batch: str, succeeded: bool, after: int) -> list[tuple[int, bytes]]:
        """Numbers and texts of the next results behind line `after`, about a megabyte of them."""

        def work(connection: sqlite3.Connection) -> list[tuple[int, bytes]]:
            cursor = connection.execute(
                "SELECT line, result FROM batch_lines WHERE batch = ? AND line > ? AND succeeded = ? ORDER BY line",
                (batch, after, succeeded),
            )
            found, size = [], 0
            for number, text in cursor:
                found.append((number, text))
                size += len(text)
                if size >= _PAGE_BYTES:
                    break
            return found

        return await self._database.read(work)

    async def forget(self, batch: str) -> None:
        """Remove them all, a bit at a time so that others get their turn."""
        while await self._database.write(
            lambda connection: (
                connection.execute(
                    "DELETE FROM batch_lines WHERE rowid IN (SELECT rowid FROM batch_lines WHERE batch = ? LIMIT ?)",
                    (batch, _FORGOTTEN_AT_ONCE),
                ).rowcount
            )
        ):
            pass

    async def restart(self, batch: str) -> None:
        """As if none of its lines had been read."""
        await self.forget(batch)
        await self._database.write(
            lambda connection: connection.execute(
                "UPDATE batches SET total = 0, completed = 0, failed = 0, input_tokens = 0, cached_tokens = 0, "
                "output_tokens = 0, reasoning_tokens = 0 WHERE id = ?",
                (batch,),
            )
        )


def _add(connection: sqlite3.Connection, batch: str, line: Line) -> bool:
    """Whether the custom_id was new."""
    statement = "INSERT OR IGNORE INTO batch_lines (batch, line, custom_id, start, length) VALUES (?, ?, ?, ?, ?)"
    values = (batch, line.number, line.custom_id, line.start, line.length)
    if connection.execute(statement, values).rowcount:
        return True
    connection.execute(statement, (batch, line.number, None, line.start, line.length))
    return False


def _put(connection: sqlite3.Connection, batch: str, results: Sequence[Result]) -> None:
    for result in results:
        new = connection.execute(
            "UPDATE batch_lines SET succeeded = ?, result = ? WHERE batch = ? AND line = ? AND succeeded IS NULL",
            (result.succeeded, result.text, batch, result.number),
        ).rowcount
        if new:
            took = result.tokens
            connection.execute(
                "UPDATE batches SET completed = completed + ?, failed = failed + ?, input_tokens = input_tokens + ?, "
                "cached_tokens = cached_tokens + ?, output_tokens = output_tokens + ?, "
                "reasoning_tokens = reasoning_tokens + ? WHERE id = ?",
                (result.succeeded, not result.succeeded, took.input, took.cached, took.output, took.reasoning, batch),
            )
