"""What the model would say at each of its layers."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from aphrodite.lab.plots.frame import Row, column, rows_of
from aphrodite.lab.plots.look import cells, figure, safe, short
from aphrodite_engine.visible import visible


def lens(df: Any) -> go.Figure:
    """The likeliest next token at each layer and position, shaded by its probability.

    Args:
        df: of `llm.lens(prompt)`: layer, position, rank (1 is the likeliest), token_id, token, probability.

    Raises:
        ParameterError: a column is missing.
    """
    rows = rows_of(df, ("layer", "position", "rank", "token", "probability"))
    first = {(row["layer"], row["position"]): row for row in rows if row["rank"] == 1}
    layers, positions = sorted(set(column(rows, "layer"))), sorted(set(column(rows, "position")))
    grid = [[first.get((layer, position)) for position in positions] for layer in layers]
    trace = cells(
        [[row["probability"] if row else None for row in line] for line in grid],
        [[short(row["token"], 8) if row else "" for row in line] for line in grid],
        [[_hover(row) if row else "" for row in line] for line in grid],
        x=positions,
        y=layers,
    )
    found = figure([trace], "position (tokens of the prompt)", "layer", height=140 + 30 * len(layers))
    found.update_xaxes(tickvals=positions, showgrid=False)
    return found.update_yaxes(tickvals=layers, showgrid=False)


def _hover(row: Row) -> str:
    token = safe(visible(row["token"]))
    return f"layer {row['layer']}, position {row['position']}<br>{token}: {row['probability']:.2%}"
