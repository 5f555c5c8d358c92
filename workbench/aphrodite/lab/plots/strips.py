"""Two generations as two strips of tokens, one above the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from aphrodite.lab.plots.frame import Row, rows_of
from aphrodite.lab.plots.look import cells, figure, safe, short
from aphrodite_engine.visible import visible

_ACROSS = 12
_NEEDED = ("op", "token_a", "probability_a", "token_b", "probability_b")


def comparison(df: Any) -> go.Figure:
    """Aligned tokens of two generations, shaded by their probability; what differs is marked by a sign before it.

    Args:
        df: of a Comparison: op, token_a, probability_a, token_b, probability_b.

    Raises:
        ParameterError: a column is missing.
    """
    rows = rows_of(df, _NEEDED)
    lines = [rows[start : start + _ACROSS] for start in range(0, len(rows), _ACROSS)]
    strips = [(side, line) for line in lines for side in ("a", "b", "")][:-1]
    shares = [[_probability(row, side) for row in line] for side, line in strips]
    texts = [[_text(row, side) for row in line] for side, line in strips]
    hover = [[_hover(row, side) for row in line] for side, line in strips]
    names = {place: f"{side} {place // 3 * _ACROSS}" for place, (side, _) in enumerate(strips) if side}
    trace = cells(_padded(shares, None), _padded(texts, ""), _padded(hover, ""))
    found = figure([trace], "", "", height=120 + 30 * len(strips))
    found.update_yaxes(autorange="reversed", tickvals=list(names), ticktext=list(names.values()), showgrid=False)
    return found.update_xaxes(showticklabels=False, showgrid=False)


def _probability(row: Row, side: str) -> float | None:
    """A token whose probability is not known is shaded as one in the middle."""
    if not side or row[f"token_{side}"] is None:
        return None
    known = row[f"probability_{side}"]
    return 0.5 if known is None else known


def _text(row: Row, side: str) -> str:
    if not side:
        return ""
    token = row[f"token_{side}"]
    if token is None:
        return ""
    return short(token, 8) if row["op"] == "equal" else f"≠{short(token, 7)}"


def _hover(row: Row, side: str) -> str:
    if not side or row[f"token_{side}"] is None:
        return ""
    known = row[f"probability_{side}"]
    share = "unknown" if known is None else f"{known:.2%}"
    return f"{side}: {safe(visible(row[f'token_{side}']))}<br>{row['op']}<br>probability {share}"


def _padded(lines: Sequence[list[Any]], filling: Any) -> list[list[Any]]:
    width = max(map(len, lines))
    return [line + [filling] * (width - len(line)) for line in lines]
