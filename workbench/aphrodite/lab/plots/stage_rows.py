"""The stages of one position, from the rows of their candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aphrodite.lab.plots.frame import Row, column, rows_of
from aphrodite_engine.errors import ParameterError


@dataclass(frozen=True)
class Panel:
    """One stage.

    Attributes:
        name: with its number behind it where a stage comes twice.
        rows: its candidates, the likeliest first.
        is_cut: it tells of fewer candidates than the first stage, so all that it could.
    """

    name: str
    rows: Sequence[Row]
    is_cut: bool

    @property
    def why_absent(self) -> str:
        """What it means that a token is not among the rows."""
        return "removed" if self.is_cut else "removed, or not among the likeliest"


def panels_of(df: Any) -> list[Panel]:
    """
    Raises:
        ParameterError: a column is missing, or the rows are of several positions.
    """
    rows = rows_of(df, ("stage", "rank", "token_id", "token", "probability"))
    one_position(rows)
    found: dict[Any, list[Row]] = {}
    for row in rows:
        found.setdefault((row.get("step"), row["stage"]), []).append(row)
    listed = [sorted(own, key=lambda row: row["rank"]) for own in found.values()]
    names = numbered([own[0]["stage"] for own in listed])
    return [Panel(name, own, is_cut=len(own) < len(listed[0])) for name, own in zip(names, listed, strict=True)]


def one_position(rows: Sequence[Row]) -> None:
    if len(set(column(rows, "position"))) > 1:
        raise ParameterError("df", "rows of several positions", "the rows of one position: df[df.position == 3]")


def numbered(names: Sequence[str]) -> list[str]:
    """Names that come again, with how often they have."""
    again = [list(names[: place + 1]).count(name) for place, name in enumerate(names)]
    return [f"{name} ({count})" if count > 1 else name for name, count in zip(names, again, strict=True)]
