"""The look that all figures share: no background of their own, so that the page's shows, light or dark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from aphrodite.display.palette import CLEAR, COLOURS, DASHES, GREY, GRID, MARKERS
from aphrodite_engine.visible import visible

#: Cells beside each other that have room for their text.
MOST_CELLS = 20
#: Tokens that have room beside each other on an axis; of more only the positions are written.
MOST_LABELS = 60
#: Of cells with text in them: one hue from light to middle, which reads in grey and has INK stand out everywhere.
SCALE = ((0.0, "#F4F7FB"), (1.0, "#4C93D1"))
INK = "#111111"

_AXIS = {
    "gridcolor": GRID,
    "zeroline": False,
    "linecolor": GREY,
    "ticks": "",
    "automargin": True,
    "title": {"standoff": 8},
}
# Of the buttons only those that save and reset stay; "share" would send the figure to a company.
_REMOVED = [
    "sendChartToCloud", "sendDataToCloud", "zoom", "pan", "select", "lasso", "zoomIn", "zoomOut", "autoScale",
]  # fmt: skip


def template() -> go.layout.Template:
    """Plotly's template of the look."""
    layout = {
        "paper_bgcolor": CLEAR,
        "plot_bgcolor": CLEAR,
        "font": {"color": GREY, "size": 13},
        "colorway": list(COLOURS),
        "margin": {"l": 60, "r": 20, "t": 36, "b": 50},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "modebar": {"remove": _REMOVED, "bgcolor": CLEAR, "color": GREY, "activecolor": COLOURS[0]},
        "hoverlabel": {"bgcolor": "#333333", "bordercolor": GREY, "font": {"color": "#FFFFFF"}},
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "annotationdefaults": {"font": {"color": GREY}, "arrowcolor": GREY},
    }
    return go.layout.Template(layout=layout)


def figure(traces: Sequence[Any], x: str, y: str, height: int = 340, **layout: Any) -> go.Figure:
    """A figure of one pair of axes with their titles, units included."""
    found = go.Figure(list(traces))
    titles = {"xaxis_title_text": x, "yaxis_title_text": y, "height": height, "showlegend": len(traces) > 1}
    return found.update_layout(template=template(), **(titles | layout))


def line(name: str, number: int, x: Sequence[Any], y: Sequence[Any], hover: Sequence[str], **more: Any) -> go.Scatter:
    """The n-th series of a figure: its colour, dashes and points are its own."""
    place = number % len(COLOURS)
    own = {
        "line": {"color": COLOURS[place], "dash": DASHES[place], "width": 2},
        "marker": {"color": COLOURS[place], "symbol": MARKERS[place], "size": 7},
        "mode": "lines+markers" if len(x) <= MOST_LABELS else "lines",
    }
    return go.Scatter(x=list(x), y=list(y), name=name, text=list(hover), hovertemplate="%{text}", **(own | more))


def cells(
    shares: Sequence[Sequence[float | None]],
    texts: Sequence[Sequence[str]],
    hover: Sequence[Sequence[str]],
    **more: Any,
) -> go.Heatmap:
    """Text in cells that are shaded by a probability, with what hovering over each says."""
    bar = {"title": {"text": "probability"}, "tickformat": ".0%", "outlinecolor": GREY}
    return go.Heatmap(
        z=shares, text=texts, customdata=hover, texttemplate="%{text}", hovertemplate="%{customdata}<extra></extra>",
        zmin=0, zmax=1, colorscale=SCALE, colorbar=bar, textfont={"color": INK, "size": 11}, xgap=1, ygap=1, **more,
    )  # fmt: skip


def token_axis(positions: Sequence[int], tokens: Sequence[str]) -> dict[str, Any]:
    """An axis along a text: the tokens where there is room for them, else their positions."""
    if len(positions) > MOST_LABELS:
        return {"xaxis_title_text": "position (tokens)"}
    labels = {"tickmode": "array", "tickvals": list(positions), "ticktext": [short(token) for token in tokens]}
    return {"xaxis": {**labels, "tickangle": -60, "showgrid": False}, "xaxis_title_text": "token"}


def short(token: str, most: int = 12) -> str:
    """A token to be seen, cut where it is long. Plotly reads "<" as the beginning of a tag."""
    shown = visible(token)
    return safe(shown if len(shown) <= most else f"{shown[: most - 1]}…")


def safe(text: str) -> str:
    """Text that plotly shows as it is."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
