"""From stage to stage: how many tokens can still be drawn, and how the likeliest fare."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from aphrodite.display.palette import COLOURS, MARKERS
from aphrodite.lab.plots.frame import Row, rows_of
from aphrodite.lab.plots.look import figure, line, safe, short
from aphrodite.lab.plots.stage_rows import Panel, numbered, panels_of
from aphrodite_engine.visible import visible


def survival(df: Any) -> go.Figure:
    """How many tokens each stage left possible, as steps; of many positions their middle one, and the extremes.

    Args:
        df: a row a stage: stage, num_possible, and position where there are several. A NextToken's stages_df, a
            trace's df.

    Raises:
        ParameterError: a column is missing.
    """
    rows = rows_of(df, ("stage", "num_possible"))
    names, counts = _counts(rows)
    several = len(counts[0]) > 1
    series = {"median": [own[len(own) // 2] for own in counts]}
    if several:
        series |= {"most": [own[-1] for own in counts], "fewest": [own[0] for own in counts]}
    lines = [_steps(label, number, names, values) for number, (label, values) in enumerate(series.items())]
    found = figure(lines, "stage", "tokens possible (log scale)", showlegend=several)
    found.update_yaxes(type="log", dtick=1, tickformat=",d")
    return found.update_xaxes(tickvals=list(range(len(names))), ticktext=[safe(name) for name in names])


def candidates(df: Any, most: int = 6) -> go.Figure:
    """The probability of the likeliest tokens from stage to stage; a cross is where one was seen last.

    Args:
        df: of a NextToken, or the candidates of one position of a trace: stage, rank, token_id, token, probability.
        most: tokens shown, those that are likeliest at any stage.

    Raises:
        ParameterError: a column is missing, or the rows are of several positions.
    """
    panels = panels_of(df)
    best: dict[int, tuple[float, str]] = {}
    for row in (row for panel in panels for row in panel.rows):
        best[row["token_id"]] = max(best.get(row["token_id"], (0.0, "")), (row["probability"], row["token"]))
    chosen = sorted(best, key=lambda token_id: best[token_id], reverse=True)[:most]
    lines = [_course(panels, token_id, best[token_id][1], number) for number, token_id in enumerate(chosen)]
    beside = {"orientation": "v", "x": 1.02, "y": 1, "yanchor": "top"}
    found = figure(lines, "stage", "probability (log scale)", showlegend=True, legend=beside)
    found.update_yaxes(type="log", tickformat=".3~%")
    return found.update_xaxes(tickvals=list(range(len(panels))), ticktext=[safe(panel.name) for panel in panels])


def _counts(rows: list[Row]) -> tuple[list[str], list[list[int]]]:
    """Names of the stages, and of each the counts of all positions, in order of size."""
    positions: dict[Any, list[Row]] = {}
    for row in rows:
        positions.setdefault(row.get("position"), []).append(row)
    found: dict[str, list[int]] = {}
    for own in positions.values():
        for name, row in zip(numbered([row["stage"] for row in own]), own, strict=True):
            found.setdefault(name, []).append(row["num_possible"])
    return list(found), [sorted(counts) for counts in found.values()]


def _steps(label: str, number: int, names: list[str], values: list[int]) -> go.Scatter:
    hover = [f"{safe(name)}<br>{label}: {value:,} possible" for name, value in zip(names, values, strict=True)]
    found = line(label, number, range(len(names)), values, hover)
    return found.update(line_shape="hv", mode="lines+markers")


def _course(panels: list[Panel], token_id: int, token: str, number: int) -> go.Scatter:
    """One token: a point at each stage that tells of it, a thin cross at the last where others follow."""
    known = [{row["token_id"]: row["probability"] for row in panel.rows}.get(token_id) for panel in panels]
    last = max(place for place, value in enumerate(known) if value is not None)
    hover = [
        "" if value is None else f"{safe(visible(token))}<br>{safe(panel.name)}: {value:.3%}"
        for panel, value in zip(panels, known, strict=True)
    ]
    place = number % len(MARKERS)
    symbols = [MARKERS[place]] * len(panels)
    if last < len(panels) - 1:
        symbols[last] = "x-thin"
    edge = {"color": COLOURS[place], "width": 2}  # of which a thin cross is made
    return line(short(token), number, range(len(panels)), known, hover).update(
        mode="lines+markers", marker={"symbol": symbols, "line": edge, "size": 9}
    )
