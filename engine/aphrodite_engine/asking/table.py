"""Small HTML tables: figures to the right, rows that a page may shade."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_CELL = "text-align:{};padding:.15em .6em;white-space:nowrap"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], most: int = 100) -> str:
    """Text in cells, the first column to the left; what is beyond `most` rows is said, not shown."""
    body = "".join(_row("td", row) for row in rows[:most])
    more = f"<div>... and {len(rows) - most:,} more, see .df</div>" if len(rows) > most else ""
    return f"<table><thead>{_row('th', head)}</thead><tbody>{body}</tbody></table>{more}"


def percent(probability: float) -> str:
    """For people; what is above 0 never reads as 0."""
    return "<0.01 %" if 0 < probability < 0.00005 else f"{100 * probability:.2f} %"


def _row(tag: str, texts: Sequence[str]) -> str:
    cells = (
        f'<{tag} style="{_CELL.format("right" if place else "left")}">{escape(text)}</{tag}>'
        for place, text in enumerate(texts)
    )
    return f"<tr>{''.join(cells)}</tr>"
