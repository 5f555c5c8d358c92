"""Conversations and what was said in them, oldest first."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from aphrodite.service.storage.database import Database
from aphrodite.service.storage.pages import PageRequest, Rows, page_of
from aphrodite.service.storage.quota import Quota

Message = Mapping[str, Any]


class ConversationStore(Protocol):
    """A tenant's memory of its sessions: what any database that keeps conversations must do.

    A session is a name of the caller's choice; it begins with its first message. Messages come back as they were
    stored and in that order, however many processes wrote them. Another tenant's session of the same name is another
    session.
    """

    async def store_conversation(self, session_id: str, messages: Sequence[Message]) -> None:
        """Append messages, all of them or none."""
        ...

    async def retrieve_context(self, session_id: str, limit: int = 10) -> list[dict[str, Any]]:
        """The last `limit` messages, the oldest of them first; [] for a session nobody began."""
        ...


class SqliteConversations:
    """ConversationStore in the service's own file."""

    def __init__(self, database: Database, tenant: str, quota: Quota, clock: Callable[[], float]) -> None:
        self._database, self._tenant, self._messages = database, tenant, _Messages(quota, clock)

    async def store_conversation(self, session_id: str, messages: Sequence[Message]) -> None:
        await self._database.write(
            lambda connection: self._messages.append(connection, self._tenant, session_id, messages)
        )

    async def retrieve_context(self, session_id: str, limit: int = 10) -> list[dict[str, Any]]:
        if limit < 0:
            raise ValueError(f"limit={limit} is not allowed: 0 or more")
        rows = await self._database.read(
            lambda connection: connection.execute(
                "SELECT body FROM messages WHERE tenant = ? AND session = ? ORDER BY sequence DESC LIMIT ?",
                (self._tenant, session_id, limit),
            ).fetchall()
        )
        return [msgspec.json.decode(body) for (body,) in reversed(rows)]


@dataclass(frozen=True)
class _Messages:
    """What is said, by session."""

    quota: Quota
    clock: Callable[[], float]

    def append(self, connection: sqlite3.Connection, tenant: str, session: str, messages: Sequence[Message]) -> None:
        """Inside a transaction: messages at the end of a session; a message's own id counts, or it gets one.

        Raises:
            ApiError: 403 the tenant keeps enough.
        """
        bodies, now = [msgspec.json.encode(message) for message in messages], int(self.clock())
        self.quota.check(connection, tenant, "messages", len(bodies), sum(map(len, bodies)))
        connection.executemany(
            "INSERT INTO messages (tenant, session, id, body, created) VALUES (?, ?, ?, ?, ?)",
            [
                (tenant, session, message.get("id") or "msg_" + secrets.token_hex(12), body, now)
                for message, body in zip(messages, bodies, strict=True)
            ],
        )


@dataclass(frozen=True)
class StoredConversation:
    """A conversation that was made as such; its items are the messages of the session with its id."""

    id: str
    created: int
    metadata: dict[str, str]


class Conversations:
    """Every method wants a tenant, and another tenant's conversation does not exist."""

    def __init__(self, database: Database, quota: Quota, clock: Callable[[], float]) -> None:
        self._database, self._clock, self._messages = database, clock, _Messages(quota, clock)

    async def create(self, tenant: str, metadata: dict[str, str], items: Sequence[Message]) -> StoredConversation:
        made = StoredConversation("conv_" + secrets.token_hex(12), int(self._clock()), metadata)

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO conversations (tenant, id, created, metadata) VALUES (?, ?, ?, ?)",
                (tenant, made.id, made.created, msgspec.json.encode(metadata)),
            )
            self._messages.append(connection, tenant, made.id, items)

        await self._database.write(work)
        return made

    async def get(self, tenant: str, conversation_id: str) -> StoredConversation | None:
        return await self._database.read(lambda connection: _find(connection, tenant, conversation_id))

    async def update(self, tenant: str, conversation_id: str, metadata: dict[str, str]) -> StoredConversation | None:
        def work(connection: sqlite3.Connection) -> StoredConversation | None:
            connection.execute(
                "UPDATE conversations SET metadata = ? WHERE tenant = ? AND id = ?",
                (msgspec.json.encode(metadata), tenant, conversation_id),
            )
            return _find(connection, tenant, conversation_id)

        return await self._database.write(work)

    async def delete(self, tenant: str, conversation_id: str) -> bool:
        """Forget one with everything said in it; False where there is none."""

        def work(connection: sqlite3.Connection) -> bool:
            key = (tenant, conversation_id)
            found = connection.execute("DELETE FROM conversations WHERE tenant = ? AND id = ?", key).rowcount > 0
            if found:
                connection.execute("DELETE FROM messages WHERE tenant = ? AND session = ?", key)
            return found

        return await self._database.write(work)

    async def add_items(self, tenant: str, conversation_id: str, items: Sequence[Message]) -> bool:
        """Append items; False where there is no such conversation."""

        def work(connection: sqlite3.Connection) -> bool:
            if _find(connection, tenant, conversation_id) is None:
                return False
            self._messages.append(connection, tenant, conversation_id, items)
            return True

        return await self._database.write(work)

    async def items(self, tenant: str, conversation_id: str) -> list[dict[str, Any]] | None:
        """All of them, oldest first; None where there is no such conversation."""

        def work(connection: sqlite3.Connection) -> list[tuple[bytes]] | None:
            if _find(connection, tenant, conversation_id) is None:
                return None
            return connection.execute(
                "SELECT body FROM messages WHERE tenant = ? AND session = ? ORDER BY sequence",
                (tenant, conversation_id),
            ).fetchall()

        rows = await self._database.read(work)
        return None if rows is None else [msgspec.json.decode(body) for (body,) in rows]

    async def page(self, tenant: str, conversation_id: str, page: PageRequest) -> Rows | None:
        """Some of its items."""
        key = (tenant, conversation_id)
        found = await self._database.read(
            lambda connection: page_of(connection, "messages", "body", "tenant = ? AND session = ?", key, page)
        )
        return found and Rows([msgspec.json.decode(body) for (body,) in found.rows], found.has_more)

    async def item(self, tenant: str, conversation_id: str, item_id: str) -> dict[str, Any] | None:
        row = await self._database.read(
            lambda connection: connection.execute(
                "SELECT body FROM messages WHERE tenant = ? AND session = ? AND id = ?",
                (tenant, conversation_id, item_id),
            ).fetchone()
        )
        return row and msgspec.json.decode(row[0])

    async def delete_item(self, tenant: str, conversation_id: str, item_id: str) -> bool:
        return await self._database.write(
            lambda connection: (
                connection.execute(
                    "DELETE FROM messages WHERE tenant = ? AND session = ? AND id = ?",
                    (tenant, conversation_id, item_id),
                ).rowcount > 0
            )
        )  # fmt: skip


def _find(connection: sqlite3.Connection, tenant: str, conversation_id: str) -> StoredConversation | None:
    row = connection.execute(
        "SELECT id, created, metadata FROM conversations WHERE tenant = ? AND id = ?", (tenant, conversation_id)
    ).fetchone()
    return row and StoredConversation(row[0], row[1], msgspec.json.decode(row[2]))
