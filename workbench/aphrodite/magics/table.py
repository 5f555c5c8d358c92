"""What a sub-command answers with where the answer is a list of things."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # pandas takes half a second that only `.df` pays
    import pandas as pd


class Table:
    """Rows that show themselves whole, as text and as HTML; `.df` is for going on with them.

    Args:
        empty: what is said instead where there are no rows.
    """

    def __init__(self, rows: Sequence[Mapping[str, Any]], empty: str = "") -> None:
        self.rows, self._empty = list(rows), empty

    @property
    def df(self) -> pd.DataFrame:
        """One row a thing, named by the first column."""
        import pandas as pd

        frame = pd.DataFrame(self.rows)
        return frame.set_index(frame.columns[0]) if self.rows else frame

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        if not self.rows:
            return self._empty
        lines = [list(self.rows[0]), *([_shown(value) for value in row.values()] for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip() for line in lines
        )

    def _repr_html_(self) -> str:
        if not self.rows:
            return f"<i>{escape(self._empty)}</i>"
        head = "".join(f'<th style="text-align:left">{escape(name)}</th>' for name in self.rows[0])
        body = "".join(
            "<tr>"
            + "".join(f'<td style="text-align:left">{escape(_shown(value))}</td>' for value in row.values())
            + "</tr>"
            for row in self.rows
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={item!r}" for name, item in value.items())
    return str(value)
