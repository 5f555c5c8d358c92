"""Line and bar charts that a notebook shows two ways: plotly's where it is at hand, a still picture where it is not.

Both are made from the same few numbers. The picture is SVG with attributes alone, because code hosts cut style sheets
out, in greys and colours that can be read on white and on black.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from aphrodite.display import chart_picture
from aphrodite.display.palette import CLEAR, COLOURS, GREY, GRID


@dataclass(frozen=True)
class Chart:
    """Series of numbers over a common x.

    Attributes:
        x: numbers, or labels that stand side by side (bars have labels always).
        series: name -> as many numbers as x has.

    Raises:
        ValueError: a series of another length, or a number that is not finite.
    """

    kind: Literal["lines", "bars"]
    x: tuple[float | str, ...]
    series: Mapping[str, tuple[float, ...]]
    x_title: str
    y_title: str

    def __post_init__(self) -> None:
        for name, values in self.series.items():
            if len(values) != len(self.x):
                raise ValueError(f"series {name!r} has {len(values)} numbers, x has {len(self.x)}")
            if not all(map(math.isfinite, values)):
                raise ValueError(f"series {name!r}: every number must be finite")
        if not self.x or not self.series:
            raise ValueError("a chart needs at least one series with at least one number")

    def __repr__(self) -> str:
        return f"<{self.kind} of {', '.join(self.series)}: {self.y_title} by {self.x_title}>"

    @property
    def spec(self) -> dict[str, Any]:
        """As plotly has it: `plotly.graph_objects.Figure(chart.spec)` is one to go on with."""
        kind = {"type": "bar"} if self.kind == "bars" else {"type": "scatter", "mode": "lines+markers"}
        data = [
            {**kind, "name": name, "x": list(self.x), "y": list(values), "marker": {"color": colour}}
            for (name, values), colour in zip(self.series.items(), colours(len(self.series)), strict=True)
        ]
        return {"data": data, "layout": self._layout()}

    @property
    def svg(self) -> str:
        """The still picture."""
        return chart_picture.draw(self, colours(len(self.series)))

    @property
    def has_labels(self) -> bool:
        """Whether x are labels, not numbers."""
        return isinstance(self.x[0], str)

    def _layout(self) -> dict[str, Any]:
        axis = {"gridcolor": GRID, "zeroline": False}
        labels = {"type": "category", "showgrid": False} if self.has_labels else {}
        return {
            "height": 340,
            "margin": {"l": 60, "r": 20, "t": 30, "b": 50},
            "paper_bgcolor": CLEAR,
            "plot_bgcolor": CLEAR,
            "font": {"color": GREY},
            "showlegend": len(self.series) > 1,
            "legend": {"orientation": "h", "y": 1.12},
            "xaxis": {**axis, "title": {"text": self.x_title}, **labels},
            "yaxis": {**axis, "title": {"text": self.y_title}, "rangemode": "tozero"},
        }

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        # Not "responsive": JupyterLab fits plots itself, and plotly would forget their height when a theme is changed.
        plotly = {**self.spec, "config": {"displayModeBar": False}}
        return {"application/vnd.plotly.v1+json": plotly, "image/svg+xml": self.svg, "text/plain": repr(self)}


def lines(
    x: Sequence[float] | Sequence[str], series: Mapping[str, Sequence[float]], *, x_title: str, y_title: str
) -> Chart:
    """Points joined by lines, a line a series."""
    return Chart("lines", tuple(map(_plain, x)), _numbers(series), x_title, y_title)


def bars(x: Sequence[Any], series: Mapping[str, Sequence[float]], *, x_title: str, y_title: str) -> Chart:
    """Bars side by side, a colour a series; x are labels."""
    return Chart("bars", tuple(map(str, x)), _numbers(series), x_title, y_title)


def colours(count: int) -> tuple[str, ...]:
    """One for each series; they begin again after the sixth."""
    return tuple(COLOURS[place % len(COLOURS)] for place in range(count))


def _numbers(series: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, ...]]:
    return {str(name): tuple(map(float, values)) for name, values in series.items()}


def _plain(value: Any) -> float | str:
    """A number of numpy's or pandas' as Python's, a label as it is."""
    return value if isinstance(value, str) else float(value)
