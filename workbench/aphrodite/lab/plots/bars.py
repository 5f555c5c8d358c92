"""Continuations, side by side."""

from __future__ import annotations

from typing import Any, Literal

import plotly.graph_objects as go

from aphrodite.display.palette import CLEAR, COLOURS, GREY
from aphrodite.lab.plots.frame import column, rows_of
from aphrodite.lab.plots.look import figure, safe, short
from aphrodite_engine.errors import ParameterError
from aphrodite_engine.visible import visible

_TITLES = {"total_nats": "log-probability (nats)", "mean_nats": "log-probability a token (nats)"}


def scores(df: Any, by: Literal["total_nats", "mean_nats"] = "total_nats") -> go.Figure:
    """How likely continuations are, the likeliest on top and filled, the others hatched.

    Args:
        df: of Scores: text, total_nats, mean_nats.
        by: the whole, or a token on average, which compares texts of different length.

    Raises:
        ParameterError: a column is missing, or `by` is another one.
    """
    if by not in _TITLES:
        raise ParameterError("by", by, " or ".join(_TITLES))
    rows = sorted(rows_of(df, ("text", by)), key=lambda row: row[by], reverse=True)
    values, texts = column(rows, by), column(rows, "text")
    best = [value == values[0] for value in values]
    trace = go.Bar(
        x=values, y=list(range(len(rows))), orientation="h", text=[f"{value:.2f}" for value in values],
        textposition="outside", textfont={"color": GREY}, cliponaxis=False,
        customdata=[f"{safe(visible(text))}<br>{value:.4f} nats" for text, value in zip(texts, values, strict=True)],
        hovertemplate="%{customdata}<extra></extra>",
        marker={
            "color": [COLOURS[0] if is_best else COLOURS[1] for is_best in best],
            "pattern": {"shape": ["" if is_best else "/" for is_best in best], "fgcolor": COLOURS[1], "bgcolor": CLEAR},
        },
    )  # fmt: skip
    found = figure([trace], _TITLES[by], "", height=110 + 34 * len(rows), bargap=0.3)
    found.update_xaxes(range=[1.12 * min(values), 0])  # room for the number beside the longest bar
    labels = [short(text, 28) for text in texts]
    return found.update_yaxes(autorange="reversed", tickvals=list(range(len(rows))), ticktext=labels, showgrid=False)
