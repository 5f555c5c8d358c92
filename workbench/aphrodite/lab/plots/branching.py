"""A tree of branches: a line a branch, along the tokens, from where it leaves its parent to its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from aphrodite.display.palette import COLOURS, DASHES, GREY, MARKERS
from aphrodite.lab.plots.frame import Row, rows_of
from aphrodite.lab.plots.look import figure, safe
from aphrodite_engine.visible import visible

_NEEDED = ("node", "parent", "at", "token", "text", "tokens")


def branch_tree(df: Any) -> go.Figure:
    """The nodes of a tree below each other, each a line along its tokens; colour, dashes and points tell the depth.

    Args:
        df: of a Tree: node, parent (none for the root), at, token, text, tokens, and mean_logprob, finish_reason.

    Raises:
        ParameterError: a column is missing.
    """
    rows = {row["node"]: row for row in rows_of(df, _NEEDED)}
    order = _in_depth(rows)
    heights = {node: place for place, node in enumerate(order)}
    traces = [_branch(rows, node, heights) for node in order]
    found = figure(traces, "position (tokens)", "", height=110 + 34 * len(order), showlegend=False)
    found.update_yaxes(
        autorange="reversed", tickvals=list(heights.values()), ticktext=order, title_text="node", showgrid=False
    )
    longest = max(row["tokens"] for row in rows.values())
    return found.update_xaxes(range=[-0.02 * longest, 1.5 * longest])  # room for the words behind


def _in_depth(rows: Mapping[int, Row]) -> list[int]:
    """Each node, and behind it what branched off it."""
    children: dict[Any, list[int]] = {}
    for node, row in rows.items():
        children.setdefault(row["parent"], []).append(node)
    order, left = [], list(reversed(children.get(None, [])))
    while left:
        order.append(left.pop())
        left += sorted(children.get(order[-1], []), key=lambda node: rows[node]["at"])
    return order


def _depth(rows: Mapping[int, Row], node: int) -> int:
    parent = rows[node]["parent"]
    return 0 if parent is None else 1 + _depth(rows, parent)


def _branch(rows: Mapping[int, Row], node: int, heights: Mapping[int, int]) -> go.Scatter:
    row, depth = rows[node], _depth(rows, node) % len(COLOURS)
    start, end, height = row["at"] or 0, row["tokens"], heights[node]
    above = height if row["parent"] is None else heights[int(row["parent"])]
    colour = COLOURS[depth]
    words = safe(_cut(" ".join(row["text"].split()), 34))
    return go.Scatter(
        x=[start, start, end], y=[above, height, height], mode="lines+markers+text",
        text=["", "", f"  {words}"], textposition="middle right", textfont={"color": GREY},
        line={"color": colour, "dash": DASHES[depth], "width": 2},
        marker={"color": colour, "symbol": MARKERS[depth], "size": [0, 9, 9], "opacity": 1, "line": {"width": 0}},
        hovertext=[_hover(row)] * 3, hovertemplate="%{hovertext}<extra></extra>", name=f"node {node}",
    )  # fmt: skip


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _hover(row: Row) -> str:
    origin = "the root" if row["parent"] is None else f"branch of {row['parent']} at {row['at']}"
    mean, end = row.get("mean_logprob"), row.get("finish_reason")
    lines: Sequence[str | None] = (
        f"node {row['node']}, {origin}",
        None if row["token"] is None else f"token {safe(visible(row['token']))}",
        safe(visible(row["text"][:60])),
        None if mean is None else f"mean log-probability {mean:.3f} nats",
        None if end is None else f"ended: {end}",
    )
    return "<br>".join(text for text in lines if text)
