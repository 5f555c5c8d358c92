"""A tree of branches without script: a picture of where each leaves, their texts to unfold, and a tree in letters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from aphrodite.display import generation_html
from aphrodite.display.forks import Row
from aphrodite.display.palette import BLUE, GREY
from aphrodite.display.shade import Shade
from aphrodite.display.token_html import STYLE, sequence
from aphrodite_engine.outputs import CompletionOutput

_LINE, _TRACK, _WIDTH, _LETTERS = 26, 220, 860, 60  # pixels, and of an excerpt letters


@dataclass(frozen=True)
class Limb:
    """One sequence of a tree.

    Attributes:
        at: where it leaves; 0 of the root.
        label: what makes it another.
        own: its text behind what it shares.
        problem: why it is not there, where it is not.
    """

    row: Row
    at: int
    label: str
    own: str
    output: CompletionOutput | None
    problem: str = ""

    @property
    def length(self) -> int:
        """In tokens, of all of it."""
        return self.at if self.output is None else len(self.output.token_ids)

    @property
    def told(self) -> str:
        """One line of it."""
        words = self.problem or " ".join(self.own.split())
        return words if len(words) <= _LETTERS else f"{words[: _LETTERS - 1]}…"


def plain(limbs: Sequence[Limb]) -> str:
    """A line each, indented below what it leaves."""
    return "\n".join(f"{'   ' * (limb.row.level - 1)}{_lead(limb)}{limb.told}" for limb in limbs)


def _lead(limb: Limb) -> str:
    return f"└─ {limb.at} {limb.label}: " if limb.row.level else ""


def html(limbs: Sequence[Limb], model: str, shade: Shade) -> str:
    """The picture, and below it every text with its tokens shaded."""
    texts = "".join(_details(limb, shade) for limb in limbs)
    count = generation_html.tokens(sum(limb.length - limb.at for limb in limbs))
    facts = escape(" · ".join([model, f"{len(limbs) - 1} branches", count]))
    return (
        f'<div class="aphrodite">{STYLE}{picture(limbs)}{texts}'
        f'<div style="opacity:.7;font-size:.85em;margin-top:.4em">{facts}</div></div>'
    )


def _details(limb: Limb, shade: Shade) -> str:
    title = f"token {limb.at}: {limb.label}" if limb.row.level else "the first"
    body = escape(limb.problem) if limb.output is None else sequence(limb.output, shade, limb.at)
    indent = f"margin-left:{1.2 * limb.row.level:.1f}em"
    return f'<details style="{indent}"><summary>{escape(title)}</summary>{body}</details>'


def picture(limbs: Sequence[Limb]) -> str:
    """SVG: position runs to the right, a line a sequence, from where it leaves to its end."""
    scale = _TRACK / max([limb.length for limb in limbs] + [1])
    height = _LINE * len(limbs) + 6
    size = f'width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}"'
    parts = [part for number, limb in enumerate(limbs) for part in _limb(limb, number, scale)]
    return f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {size}>' + "".join(parts) + "</svg>"


def _limb(limb: Limb, number: int, scale: float) -> Iterator[str]:
    x, y, end = 8 + limb.at * scale, _LINE * number + 16, 8 + limb.length * scale
    line = f'stroke="{BLUE}" stroke-width="2.5" stroke-linecap="round"'
    if limb.row.level:
        top = y - _LINE * limb.row.up
        bend = f"M{x:.1f} {top} V{y - 5} Q{x:.1f} {y} {x + 5:.1f} {y}"
        yield f'<path d="{bend}" fill="none" {line} stroke-opacity="0.5"/>'
        yield f'<circle cx="{x:.1f}" cy="{top}" r="3.5" fill="{BLUE}"/>'
        x += 5
    yield f'<line x1="{x:.1f}" y1="{y}" x2="{max(x, end):.1f}" y2="{y}" {line}/>'
    bold = f'<tspan font-weight="bold">{escape(limb.label)}</tspan>  ' if limb.row.level else ""
    yield (
        f'<text x="{_TRACK + 24}" y="{y + 4}" font-family="sans-serif" font-size="12" fill="{GREY}" '
        f'xml:space="preserve">{bold}{escape(limb.told)}</text>'
    )
