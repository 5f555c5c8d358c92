"""The lens as a table without script: layers x positions, the likeliest token of each, shaded by its probability."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from aphrodite_engine.visible import visible

#: A table is for looking; what is beyond is in .df.
MOST_POSITIONS = 64
_BLUE = "37,99,235"
_STRONGEST = 0.65
_CELL = (
    "padding:.15em .5em;text-align:center;white-space:pre;font-family:monospace;border:1px solid rgba(128,128,128,.2)"
)
_HEAD = "padding:.15em .5em;text-align:center;white-space:pre;font-family:monospace;font-weight:normal"


def lens_table(
    layers: Sequence[int],
    tokens: Sequence[str],
    best: Sequence[Sequence[str]],
    probabilities: np.ndarray,
    entropy: np.ndarray,
) -> str:
    """HTML.

    Args:
        tokens: of the prompt, the columns; the last MOST_POSITIONS are shown.
        best: (layers, tokens) the likeliest token's text, of `probabilities`; `entropy` in nats.
    """
    first = max(0, len(tokens) - MOST_POSITIONS)
    shown = range(first, len(tokens))
    rows = (
        f'<tr><th style="{_HEAD}">{layer}</th>'
        + "".join(_cell(best[place][t], probabilities[place, t], entropy[place, t]) for t in shown)
        + "</tr>"
        for place, layer in enumerate(layers)
    )
    head = "".join(f'<th style="{_HEAD}">{escape(visible(tokens[t]))}</th>' for t in shown)
    left_out = f" The first {first:,} positions are in .df." if first else ""
    caption = "What would follow each token if the model ended after the layer: the stronger its colour, the likelier."
    return (
        f'<div style="overflow-x:auto"><table style="border-collapse:collapse;font-size:.85em">'
        f'<caption style="text-align:left;caption-side:top;opacity:.7">{caption}{left_out}</caption>'
        f'<thead><tr><th style="{_HEAD}">layer</th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _cell(text: str, probability: float, entropy: float) -> str:
    shade = f"background:rgba({_BLUE},{_STRONGEST * probability:.3f})"
    title = f"{100 * probability:.1f} %, entropy {entropy:.2f} nats"
    return f'<td style="{_CELL};{shade}" title="{title}">{escape(visible(text))}</td>'
