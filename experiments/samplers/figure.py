"""Skill against diversity, a small picture a family, in one SVG that needs no colour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from experiments.samplers.findings import Findings, Result

Point = tuple[float, float]

_COLUMNS, _WIDTH, _HEIGHT = 4, 230, 184
_LEFT, _RIGHT, _TOP, _BOTTOM = 36, 12, 36, 24
_INK, _PALE, _AXIS = "#111111", "#bdbdbd", "#5f5f5f"
#: What the pictures show; settings beyond it stand on the edge.
_ACROSS, _UP = (0.1, 0.2, 0.3, 0.4), (0.6, 0.7, 0.8, 0.9, 1.0)
#: Families whose settings are no row of strengths.
_KINDS = ("hot", "presets")
_CAPTION = (
    "Up: answers that are exactly right. To the right: different pairs of words in the stories (distinct-2).",
    "Black: the family's settings, from the first in the table (hollow) to the last; or their number in the table.",
    "Cross: neutral. Grey: all settings. What lies beyond the picture stands on its edge.",
)


def draw(findings: Findings) -> str:
    """The whole picture."""
    points = [_point(findings, result) for result in findings.results]
    panels = [
        f'<g transform="translate({at % _COLUMNS * _WIDTH},{at // _COLUMNS * _HEIGHT})">\n'
        + "\n".join(_panel(name, some, [_point(findings, result) for result in some]))
        + "\n</g>"
        for at, (name, some) in enumerate(list(findings.families)[1:])
    ]
    width, height = _COLUMNS * _WIDTH, -(-len(panels) // _COLUMNS) * _HEIGHT + 64
    caption = [_text(width / 2, height - 46 + 17 * at, line, size=12) for at, line in enumerate(_CAPTION)]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">'
    paper = f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
    return "\n".join([head, *_shared(points), paper, *panels, *caption, "</svg>\n"])


def _shared(points: Sequence[Point]) -> Iterator[str]:
    """What stands behind every family: axes, all settings, and neutral."""
    x, y = _x(points[0][0]), _y(points[0][1])
    yield '<defs><g id="all">'
    yield from _axes()
    yield from (f'<circle cx="{_x(x)}" cy="{_y(y)}" r="1.5" fill="{_PALE}"/>' for x, y in points)
    yield f'<path d="M{x - 6:.1f} {y}h12M{x} {y - 6:.1f}v12" stroke="{_INK}"/>'
    yield "</g></defs>"


def _point(findings: Findings, result: Result) -> Point:
    return result["stories"]["distinct_2"], findings.exact(result)


def _panel(name: str, results: Sequence[Result], own: Sequence[Point]) -> Iterator[str]:
    is_row = not name.startswith(_KINDS)
    yield _text(_LEFT, 14, name, "start", size=12, colour=_INK)
    span = f"{results[0]['label']} … {results[-1]['label']}" if is_row else f"1 {results[0]['label']}, 2 ..."
    yield _text(_LEFT, 27, span, "start")
    yield '<use href="#all"/>'
    yield from _row(own) if is_row else _numbers(own)


def _row(own: Sequence[Point]) -> Iterator[str]:
    path = " ".join(f"{_x(x)},{_y(y)}" for x, y in own)
    yield f'<polyline points="{path}" fill="none" stroke="{_INK}"/>'
    for at, (x, y) in enumerate(own):
        yield f'<circle cx="{_x(x)}" cy="{_y(y)}" r="3" fill="{_INK if at else "#ffffff"}" stroke="{_INK}"/>'


def _numbers(own: Sequence[Point]) -> Iterator[str]:
    for at, (x, y) in enumerate(own, start=1):
        yield _text(_x(x), _y(y) + 3.5, str(at), colour=_INK)


def _axes() -> Iterator[str]:
    for share in _UP:
        yield f'<path d="M{_LEFT} {_y(share)}H{_WIDTH - _RIGHT}" stroke="{_PALE}" stroke-width="0.5"/>'
        yield _text(_LEFT - 4, _y(share) + 3.5, f"{share:.0%}", "end")
    for share in _ACROSS:
        yield f'<path d="M{_x(share)} {_TOP}V{_HEIGHT - _BOTTOM}" stroke="{_PALE}" stroke-width="0.5"/>'
        yield _text(_x(share), _HEIGHT - _BOTTOM + 13, f"{share:g}")


def _x(share: float) -> float:
    return round(_LEFT + _part(share, _ACROSS) * (_WIDTH - _LEFT - _RIGHT), 1)


def _y(share: float) -> float:
    return round(_HEIGHT - _BOTTOM - _part(share, _UP) * (_HEIGHT - _TOP - _BOTTOM), 1)


def _part(share: float, axis: Sequence[float]) -> float:
    return min(1.0, max(0.0, (share - axis[0]) / (axis[-1] - axis[0])))


def _text(x: float, y: float, text: str, anchor: str = "middle", size: int = 10, colour: str = _AXIS) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="{size}" fill="{colour}">{escape(text)}</text>'
