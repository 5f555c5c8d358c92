"""A piece of a long list, and where it begins."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class PageRequest:
    """At most `limit` entries in this order, those that come behind the entry `after`."""

    limit: int
    order: Literal["asc", "desc"] = "desc"
    after: str | None = None


@dataclass(frozen=True)
class Rows:
    """The entries, and whether more follow; None in place of both where `after` names nothing."""

    rows: list[Any]
    has_more: bool


def page_of(
    connection: sqlite3.Connection, table: str, columns: str, where: str, values: tuple[Any, ...], page: PageRequest
) -> Rows | None:
    """Entries of a table whose order is its `sequence`; None where `page.after` names none of them.

    `table`, `columns` and `where` are constants of the caller's, never something that a client sent.
    """
    beyond = ""
    if page.after is not None:
        found = connection.execute(
            f"SELECT sequence FROM {table} WHERE {where} AND id = ?", (*values, page.after)
        ).fetchone()
        if found is None:
            return None
        beyond = f"AND sequence {'>' if page.order == 'asc' else '<'} {found[0]}"
    rows = connection.execute(
        f"SELECT {columns} FROM {table} WHERE {where} {beyond} ORDER BY sequence {page.order} LIMIT ?",
        (*values, page.limit + 1),
    ).fetchall()
    return Rows(rows[: page.limit], len(rows) > page.limit)
