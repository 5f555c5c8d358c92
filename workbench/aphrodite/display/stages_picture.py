"""Stages of a draw as SVG: small panels side by side. Attributes only, no style sheet, no script.

What a stage removed is hatched and struck through, so that it is seen in grey, too; the drawn token has a dot.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Protocol

from aphrodite.display.palette import BLUE, GREY, ORANGE
from aphrodite_engine.visible import visible

_PANEL, _GAP, _TOP, _LINE = 212, 14, 44, 20  # pixels
_LABEL, _BAR = 84, 84  # of a panel's width; the rest is for the figure behind the bar
_A_ROW = 4  # panels
_LETTERS = 11
_HATCH = (
    '<defs><pattern id="aphrodite-hatch" width="5" height="5" patternUnits="userSpaceOnUse" '
    f'patternTransform="rotate(45)"><line x1="0" y1="0" x2="0" y2="5" stroke="{ORANGE}" stroke-width="2"/>'
    "</pattern></defs>"
)


class Stage(Protocol):
    """What of a stage is drawn."""

    @property
    def name(self) -> str: ...
    @property
    def num_possible(self) -> int: ...
    @property
    def coin(self) -> float | None: ...


class Bar(Protocol):
    """What of a token behind a stage is drawn."""

    @property
    def fate(self) -> str: ...
    @property
    def probability(self) -> float | None: ...
    @property
    def before(self) -> float | None: ...


class Row(Protocol):
    """What of a token is drawn."""

    @property
    def text(self) -> str: ...
    @property
    def is_drawn(self) -> bool: ...
    @property
    def bars(self) -> Sequence[Bar]: ...


def draw(stages: Sequence[Stage], rows: Sequence[Row]) -> str:
    """The whole picture: four panels a row, the same scale in all."""
    across = min(len(stages), _A_ROW)
    panel_height = _TOP + _LINE * len(rows) + _GAP
    width, height = across * (_PANEL + _GAP), panel_height * -(-len(stages) // _A_ROW)
    scale = _BAR / max([bar.probability or 0 for row in rows for bar in row.bars] + [0.01])
    parts = [_HATCH]
    for place in range(len(stages)):
        x, y = place % _A_ROW * (_PANEL + _GAP), place // _A_ROW * panel_height
        parts += [
            f'<g transform="translate({x} {y})">', *_head(stages, place),
            *(part for number, row in enumerate(rows) for part in _row(row, row.bars[place], number, scale)), "</g>",
        ]  # fmt: skip
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {size}>\n' + "\n".join(parts) + "\n</svg>"


def _head(stages: Sequence[Stage], place: int) -> Iterator[str]:
    stage = stages[place]
    removed = stages[place - 1].num_possible - stage.num_possible if place else 0
    told = f"{stage.num_possible:,} possible" if not removed else f"{stage.num_possible:,} left, {removed:,} removed"
    yield _text(0, 14, f"{place}  {stage.name}" if place else stage.name, size=13, weight="bold")
    yield _text(0, 31, told + ("" if stage.coin is None else f", coin {stage.coin:.3f}"), size=11)


def _row(row: Row, bar: Bar, number: int, scale: float) -> Iterator[str]:
    y = _TOP + _LINE * number
    struck = bar.fate in ("removed", "gone")
    faint = bar.fate in ("gone", "below")
    label = ("● " if row.is_drawn else "") + _short(visible(row.text))
    yield _text(_LABEL - 6, y + 12, label, "end", struck=struck, faint=faint, weight="bold" if row.is_drawn else "")
    if bar.fate == "possible":
        length = max(1.0, (bar.probability or 0) * scale)
        yield f'<rect x="{_LABEL}" y="{y + 2}" width="{length:.1f}" height="12" rx="1" fill="{BLUE}"/>'
        yield _text(_LABEL + length + 5, y + 12, _percent(bar.probability or 0), size=11)
    elif bar.fate == "removed":
        length = min(float(_BAR), max(4.0, (bar.before or 0) * scale))
        yield (
            f'<rect x="{_LABEL}" y="{y + 2}" width="{length:.1f}" height="12" rx="1" fill="url(#aphrodite-hatch)" '
            f'stroke="{ORANGE}"/>'
        )
        yield _text(_LABEL + length + 5, y + 12, "removed", size=11)
    else:
        yield _text(_LABEL, y + 12, "" if bar.fate == "gone" else "…", size=11, faint=True)


def _short(text: str) -> str:
    return text if len(text) <= _LETTERS else text[: _LETTERS - 1] + "…"


def _percent(probability: float) -> str:
    return f"{probability:.1%}" if probability >= 0.0005 else "<0.1%"


def _text(
    x: float, y: float, text: str, anchor: str = "start", *, size: int = 12, weight: str = "", struck: bool = False,
    faint: bool = False,
) -> str:  # fmt: skip
    more = "".join([
        f' font-weight="{weight}"' if weight else "",
        ' text-decoration="line-through"' if struck else "",
        ' fill-opacity="0.8"' if faint else "",
    ])  # fmt: skip
    return (
        f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}" font-family="sans-serif" font-size="{size}" '
        f'fill="{GREY}"{more} xml:space="preserve">{escape(text)}</text>'
    )
