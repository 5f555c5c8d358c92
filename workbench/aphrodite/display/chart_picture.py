"""A chart as SVG: axes, a grid, lines or bars, a legend. Attributes only, no style sheet, no script."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Protocol

from aphrodite.display.palette import GREY

_WIDTH, _HEIGHT = 640, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 34, 50
_LETTER = 7  # pixels, about, of the font below
_FONT = f'font-family="sans-serif" font-size="12" fill="{GREY}"'


class Drawn(Protocol):
    """What of a chart is drawn."""

    @property
    def kind(self) -> str: ...
    @property
    def x(self) -> Sequence[float | str]: ...
    @property
    def series(self) -> Mapping[str, Sequence[float]]: ...
    @property
    def x_title(self) -> str: ...
    @property
    def y_title(self) -> str: ...
    @property
    def has_labels(self) -> bool: ...


@dataclass(frozen=True)
class Axis:
    """Values on pixels: the first mark on `start`, the last on `end`."""

    marks: Sequence[float]
    start: float
    end: float

    def at(self, value: float) -> float:
        share = (value - self.marks[0]) / (self.marks[-1] - self.marks[0])
        return self.start + share * (self.end - self.start)


def draw(chart: Drawn, colours: Sequence[str]) -> str:
    """The whole picture."""
    across, up = _across(chart), _up(chart)
    parts = [
        *_grid(up),
        *_labels(chart, across),
        *(_bars if chart.kind == "bars" else _lines)(chart, across, up, colours),
        *_titles(chart, _HEIGHT + _slant(chart, across)),
        *(_legend(chart, colours) if len(chart.series) > 1 else ()),
    ]
    height = _HEIGHT + _slant(chart, across)
    size = f'width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>\n' + "\n".join(parts) + "\n</svg>"


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) from at most low to at least high."""
    rough = (high - low or abs(high) or 1.0) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(place * step, 12) for place in range(first, max(last, first + 1) + 1)]


def _up(chart: Drawn) -> Axis:
    values = [value for numbers in chart.series.values() for value in numbers]
    return Axis(ticks(min(0.0, *values), max(0.0, *values)), _HEIGHT - _BOTTOM, _TOP)


def _across(chart: Drawn) -> Axis:
    if chart.has_labels:
        return Axis((-0.5, len(chart.x) - 0.5), _LEFT, _WIDTH - _RIGHT)
    return Axis(ticks(min(_places(chart)), max(_places(chart)), 8), _LEFT, _WIDTH - _RIGHT)


def _places(chart: Drawn) -> list[float]:
    """Where each x stands: a label at its number."""
    return [float(place if isinstance(value, str) else value) for place, value in enumerate(chart.x)]


def _grid(up: Axis) -> Iterator[str]:
    for mark in up.marks:
        y = up.at(mark)
        yield (
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" '
            f'stroke="{GREY}" stroke-opacity="0.25"/>'
        )
        yield _text(_LEFT - 8, y + 4, _number(mark), "end")


def _labels(chart: Drawn, across: Axis) -> Iterator[str]:
    if chart.has_labels:
        marks = [(float(place), str(label)) for place, label in enumerate(chart.x)]
    else:
        marks = [(mark, _number(mark)) for mark in across.marks]
    y = _HEIGHT - _BOTTOM + 18
    for place, label in marks:
        x = across.at(place)
        if _slant(chart, across):
            yield _text(x + 4, y, label, "end", f'transform="rotate(-30 {x + 4:.1f} {y})"')
        else:
            yield _text(x, y, label)


def _slant(chart: Drawn, across: Axis) -> int:
    """Pixels that slanting labels need below; 0 where each has room to lie flat."""
    if not chart.has_labels:
        return 0
    width = _LETTER * max(len(str(label)) for label in chart.x)
    return 0 if width <= across.at(1) - across.at(0) else round(width / 2)


def _lines(chart: Drawn, across: Axis, up: Axis, colours: Sequence[str]) -> Iterator[str]:
    places = _places(chart)
    for values, colour in zip(chart.series.values(), colours, strict=True):
        points = [(across.at(place), up.at(value)) for place, value in zip(places, values, strict=True)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
        if len(points) <= 40:
            yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points)


def _bars(chart: Drawn, across: Axis, up: Axis, colours: Sequence[str]) -> Iterator[str]:
    thickness = 0.8 / len(chart.series)
    for rank, (values, colour) in enumerate(zip(chart.series.values(), colours, strict=True)):
        for place, value in enumerate(values):
            left = across.at(place - 0.4 + rank * thickness)
            width = across.at(place - 0.4 + (rank + 1) * thickness) - left
            y, base = sorted((up.at(value), up.at(0)))
            yield f'<rect x="{left:.1f}" y="{y:.1f}" width="{width:.1f}" height="{base - y:.1f}" fill="{colour}"/>'


def _titles(chart: Drawn, height: float) -> Iterator[str]:
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    yield _text(middle, height - 10, chart.x_title)
    centre = (_TOP + _HEIGHT - _BOTTOM) / 2
    turned = f'transform="rotate(-90 14 {centre:.1f})"'
    yield _text(14, centre, chart.y_title, more=turned)


def _legend(chart: Drawn, colours: Sequence[str]) -> Iterator[str]:
    x = float(_LEFT)
    for name, colour in zip(chart.series, colours, strict=True):
        yield f'<rect x="{x:.1f}" y="8" width="12" height="12" fill="{colour}"/>'
        yield _text(x + 18, 18, name, "start")
        x += 40 + _LETTER * len(name)


def _text(x: float, y: float, text: str, anchor: str = "middle", more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {_FONT} {more}>{escape(text)}</text>'.replace(
        " >", ">"
    )


def _number(value: Any) -> str:
    return f"{value:,.10g}"
