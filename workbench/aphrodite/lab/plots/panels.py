"""Stages as small multiples: a panel a stage, a bar a candidate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from aphrodite.display.palette import CLEAR, COLOURS, GREY
from aphrodite.lab.plots.frame import Row
from aphrodite.lab.plots.look import safe, short, template
from aphrodite.lab.plots.stage_rows import Panel, panels_of
from aphrodite_engine.visible import visible

_ACROSS = 4


def stages(df: Any, most: int = 10) -> go.Figure:
    """What each stage of sampling left of the likeliest tokens; what it took away stays as a hatched bar.

    Args:
        df: of a NextToken, or the candidates of one position of a trace: stage, rank, token_id, token, probability.
        most: candidates shown, the likeliest of the first stage.

    Raises:
        ParameterError: a column is missing, or the rows are of several positions.
    """
    panels = panels_of(df)
    shown = panels[0].rows[:most]
    down = -(-len(panels) // _ACROSS)
    grid = make_subplots(
        rows=down, cols=min(len(panels), _ACROSS), shared_yaxes=True, shared_xaxes=True, x_title="probability",
        subplot_titles=[safe(panel.name) for panel in panels], horizontal_spacing=0.03, vertical_spacing=0.14 / down,
    )  # fmt: skip
    for number, panel in enumerate(panels):
        row, col = number // _ACROSS + 1, number % _ACROSS + 1
        for bars in _bars(panel, panels[:number], shown):
            grid.add_trace(bars, row=row, col=col)
    return _laid_out(grid, shown, down)


def _bars(panel: Panel, earlier: Sequence[Panel], shown: Sequence[Row]) -> list[go.Bar]:
    """What is left, and what is gone with its probability from before."""
    left = {row["token_id"]: row["probability"] for row in panel.rows}
    before = {row["token_id"]: row["probability"] for other in earlier for row in other.rows}
    gone = [None if row["token_id"] in left else before.get(row["token_id"]) for row in shown]
    kept = {"color": COLOURS[0]}
    hatched = {"color": CLEAR, "line": {"color": GREY, "width": 1}, "pattern": {"shape": "/", "fgcolor": GREY}}
    return [
        _bar([left.get(row["token_id"]) for row in shown], shown, "left", kept),
        _bar(gone, shown, panel.why_absent, hatched),
    ]


def _bar(values: Sequence[float | None], shown: Sequence[Row], name: str, marker: Any) -> go.Bar:
    hover = [
        f"{safe(visible(row['token']))}<br>{name}: {value or 0:.2%}" for row, value in zip(shown, values, strict=True)
    ]
    return go.Bar(
        x=list(values), y=list(range(len(shown))), orientation="h", name=name, marker=marker, hovertext=hover,
        hovertemplate="%{hovertext}<extra></extra>", showlegend=False, legendgroup=name,
    )  # fmt: skip


def _laid_out(grid: go.Figure, shown: Sequence[Row], down: int) -> go.Figure:
    labels = [short(row["token"]) for row in shown]
    grid.update_layout(
        template=template(), barmode="overlay", bargap=0.25, height=90 + down * (60 + 18 * len(shown)),
    )  # fmt: skip
    grid.update_yaxes(autorange="reversed", tickvals=list(range(len(shown))), ticktext=labels, showgrid=False)
    grid.update_xaxes(matches="x", tickformat=".0%", rangemode="tozero", nticks=4)
    return grid.update_annotations(font={"color": GREY, "size": 13})
