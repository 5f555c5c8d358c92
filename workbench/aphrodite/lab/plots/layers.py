"""What the model would say at each of its layers."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from aphrodite.lab.plots.frame import Row, column, rows_of
from aphrodite.lab.plots.look import MOST_CELLS, cells, figure, safe, short, token_axis
from aphrodite_engine.visible import visible


def lens(df: Any) -> go.Figure:
    """The likeliest next token at each layer and position, shaded by its probability; hovering tells it in full.

    Args:
        df: of `llm.lens(prompt)`: layer, position, token (of the prompt), rank (1 is the likeliest), token_text,
            probability.

    Raises:
        ParameterError: a column is missing.
    """
    rows = rows_of(df, ("layer", "position", "token", "rank", "token_text", "probability"))
    first = {(row["layer"], row["position"]): row for row in rows if row["rank"] == 1}
    layers, positions = sorted(set(column(rows, "layer"))), sorted(set(column(rows, "position")))
    grid = [[first.get((layer, position)) for position in positions] for layer in layers]
    trace = cells(
        [[row["probability"] if row else None for row in line] for line in grid],
        [[_text(row, len(positions)) for row in line] for line in grid],
        [[_hover(row) if row else "" for row in line] for line in grid],
        x=positions,
        y=layers,
    )
    prompt = {row["position"]: row["token"] for row in rows}
    found = figure([trace], "", "layer", height=160 + 30 * len(layers))
    found.update_layout(token_axis(positions, [prompt[position] for position in positions]))
    found.update_xaxes(title_text="token of the prompt; the cells say what would follow it")
    return found.update_yaxes(tickvals=layers, showgrid=False)


def _text(row: Row | None, positions: int) -> str:
    """Of many positions none: it would be too small to be read."""
    return "" if row is None or positions > MOST_CELLS else short(row["token_text"], 8 if positions <= 12 else 4)


def _hover(row: Row) -> str:
    behind, token = safe(visible(row["token"])), safe(visible(row["token_text"]))
    return f"layer {row['layer']}, behind {behind} ({row['position']})<br>{token}: {row['probability']:.2%}"
