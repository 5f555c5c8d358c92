"""How much a tenant may keep: asked in the transaction that adds something."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Literal

from aphrodite.service.errors import ApiError
from aphrodite.service.settings import StorageSettings

Kind = Literal["responses", "messages", "files", "batches"]

#: The field of a request that asks for something to be kept.
_FIELDS = {"responses": "store", "messages": "items", "files": "file", "batches": "input_file_id"}


@dataclass(frozen=True)
class Quota:
    """The limits, and the table that counts against them (schema.py: holdings)."""

    settings: StorageSettings

    def check(self, connection: sqlite3.Connection, tenant: str, kind: Kind, items: int, num_bytes: int) -> None:
        """Whether so much more of a kind may be kept.

        Raises:
            ApiError: 403 storage_quota_exceeded, naming the request's field and the limit.
        """
        rows = connection.execute("SELECT kind, items, bytes FROM holdings WHERE tenant = ?", (tenant,)).fetchall()
        held = sum(count for name, count, _ in rows if name == kind) + items
        held_bytes = sum(size for _, _, size in rows) + num_bytes
        if held > self.settings.max_items:
            raise _exceeded(kind, f"{held:,} {kind}, the limit is max_items={self.settings.max_items:,}")
        if held_bytes > self.settings.max_bytes:
            raise _exceeded(kind, f"{held_bytes:,} bytes, the limit is max_bytes={self.settings.max_bytes:,}")


def _exceeded(kind: Kind, what: str) -> ApiError:
    field = _FIELDS[kind]
    hint = "; or send store=false" if field == "store" else ""
    message = f"{field}: you would keep {what}; delete some of what is stored{hint}"
    return ApiError(403, message, param=field, code="storage_quota_exceeded")
