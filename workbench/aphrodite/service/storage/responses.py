"""Stored responses."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from aphrodite.service.storage.database import Database
from aphrodite.service.storage.quota import Quota

#: The states of a response that somebody still works on.
UNFINISHED = ("queued", "in_progress")
#: A chain of responses is followed no further: each is at least a token of a context.
_LONGEST_CHAIN = 100_000

_INTERRUPTED = {"code": "server_error", "message": "the service ended while it worked on this response"}

_CHAIN = """
WITH RECURSIVE chain (id, previous, input, body, depth) AS (
    SELECT id, previous, input, body, 0 FROM responses WHERE tenant = :tenant AND id = :id
    UNION ALL
    SELECT r.id, r.previous, r.input, r.body, chain.depth + 1 FROM chain
    JOIN responses r ON r.tenant = :tenant AND r.id = chain.previous WHERE chain.depth < :longest
)
SELECT id, previous, input, body FROM chain ORDER BY depth DESC
"""


@dataclass(frozen=True)
class StoredResponse:
    """A row.

    Attributes:
        body: the response object.
        input: the items that were new with it.
    """

    id: str
    previous: str | None
    status: str
    body: dict[str, Any]
    input: list[dict[str, Any]]


class MissingLink(Exception):
    """A conversation cannot be told: this response of it does not exist."""

    def __init__(self, response_id: str) -> None:
        super().__init__(response_id)
        self.response_id = response_id


class Responses:
    """Every method wants a tenant, and another tenant's response does not exist."""

    def __init__(self, database: Database, quota: Quota, clock: Callable[[], float]) -> None:
        self._database, self._quota, self._clock = database, quota, clock

    async def check_room(self, tenant: str) -> None:
        """Whether one more may be stored: to be asked before it is made, since then it is stored in any case.

        Raises:
            ApiError: 403 the tenant keeps enough.
        """
        await self._database.read(lambda connection: self._quota.check(connection, tenant, "responses", 1, 0))

    async def put(self, tenant: str, response: StoredResponse) -> None:
        """Store a response, or its news: one that was cancelled meanwhile stays so."""
        await self._database.write(lambda connection: self._put(connection, tenant, response))

    async def get(self, tenant: str, response_id: str) -> StoredResponse | None:
        """One, if it exists; one whose service died while it worked is marked as failed."""
        found = await self._database.read(lambda connection: _find(connection, tenant, response_id))
        if found is None:
            return None
        response, owner = found
        if response.status in UNFINISHED and not self._database.instance.is_alive(owner):
            body = {**response.body, "status": "failed", "error": _INTERRUPTED}
            return await self.finish(tenant, response_id, "failed", body)
        return response

    async def finish(self, tenant: str, response_id: str, status: str, body: dict[str, Any]) -> StoredResponse | None:
        """Give an unfinished response its last state; the response as it then is."""

        def work(connection: sqlite3.Connection) -> StoredResponse | None:
            connection.execute(
                "UPDATE responses SET status = ?, body = ? WHERE tenant = ? AND id = ? AND status IN (?, ?)",
                (status, msgspec.json.encode(body), tenant, response_id, *UNFINISHED),
            )
            found = _find(connection, tenant, response_id)
            return found and found[0]

        return await self._database.write(work)

    async def delete(self, tenant: str, response_id: str) -> bool:
        """Forget one; False where there is none."""
        return await self._database.write(
            lambda connection: (
                connection.execute(
                    "DELETE FROM responses WHERE tenant = ? AND id = ?", (tenant, response_id)
                ).rowcount > 0
            )
        )  # fmt: skip

    async def items_until(self, tenant: str, response_id: str) -> list[dict[str, Any]]:
        """Every item of the conversation that ends with this response, oldest first.

        Raises:
            MissingLink: it, or one before it, does not exist (any more).
        """
        values = {"tenant": tenant, "id": response_id, "longest": _LONGEST_CHAIN}
        rows = await self._database.read(lambda connection: connection.execute(_CHAIN, values).fetchall())
        if not rows:
            raise MissingLink(response_id)
        if rows[0][1] is not None:
            raise MissingLink(rows[0][1])
        return [item for row in rows for item in (*_json(row[2]), *_json(row[3])["output"])]

    def _put(self, connection: sqlite3.Connection, tenant: str, response: StoredResponse) -> None:
        connection.execute(
            "INSERT INTO responses (tenant, id, previous, owner, status, body, input, created) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (tenant, id) DO UPDATE SET status = excluded.status, body = excluded.body "
            "WHERE status IN (?, ?)",
            (
                tenant, response.id, response.previous, self._database.instance.id, response.status,
                msgspec.json.encode(response.body), msgspec.json.encode(response.input), int(self._clock()),
                *UNFINISHED,
            ),
        )  # fmt: skip


def _find(connection: sqlite3.Connection, tenant: str, response_id: str) -> tuple[StoredResponse, str] | None:
    row = connection.execute(
        "SELECT id, previous, status, body, input, owner FROM responses WHERE tenant = ? AND id = ?",
        (tenant, response_id),
    ).fetchone()
    return row and (StoredResponse(row[0], row[1], row[2], _json(row[3]), _json(row[4])), row[5])


def _json(data: bytes) -> Any:
    return msgspec.json.decode(data)
