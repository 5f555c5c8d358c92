"""Two aligned sequences as HTML without script: two rows of tokens that wrap together.

A difference is a framed column with a bold sign above it, so that it is seen without colours too; where a page takes
the styles away, <del> and <ins> still tell what only one of them has.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Protocol

from aphrodite.display.visible import visible_html

_SIGNS = {"equal": "&nbsp;", "replace": "≠", "delete": "−", "insert": "+"}
_FRAME = "border:1px solid currentColor;border-radius:.2em;font-weight:bold"
_COLUMN = (
    "display:inline-flex;flex-direction:column;vertical-align:top;margin:0 1px .5em;padding:0 .15em;line-height:1.4;"
    "border:1px solid transparent"
)
_PLAIN = 'style="text-decoration:none"'


class Column(Protocol):
    """What of an aligned column is shown."""

    @property
    def op(self) -> str: ...
    @property
    def token_a(self) -> str | None: ...
    @property
    def token_b(self) -> str | None: ...
    @property
    def probability_a(self) -> float | None: ...
    @property
    def probability_b(self) -> float | None: ...
    @property
    def probability_a_of_b(self) -> float | None: ...
    @property
    def probability_b_of_a(self) -> float | None: ...


def html(summary: str, columns: Sequence[Column]) -> str:
    """The sentence, the names of the rows, and a small column for each column of the alignment."""
    names = _stacked("", "&nbsp;", "<b>a</b>", "<b>b</b>")
    body = "".join(_column(column) for column in columns)
    return (
        f'<div class="aphrodite"><div style="margin-bottom:.4em">{escape(summary)}</div>'
        f'<div style="overflow-wrap:anywhere">{names}{body}</div></div>'
    )


def _column(column: Column) -> str:
    a, b = _token(column.token_a), _token(column.token_b)
    if column.op == "equal":
        return _stacked(_told(column), _SIGNS["equal"], a, b)
    return _stacked(_told(column), _SIGNS[column.op], f"<del {_PLAIN}>{a}</del>", f"<ins {_PLAIN}>{b}</ins>", _FRAME)


def _stacked(title: str, sign: str, a: str, b: str, style: str = "") -> str:
    rows = "".join(f"<span>{part} </span>" for part in (sign, a, b))
    return f'<span style="{_COLUMN};{style}" title="{title}">{rows}</span>'


def _token(token: str | None) -> str:
    return "&nbsp;" if token is None else visible_html(token)


def _told(column: Column) -> str:
    """What hovering says, safe between quotes."""
    lines = (
        _share("a", column.token_a, column.probability_a),
        _share("a of b's", column.token_b, column.probability_a_of_b if column.op != "equal" else None),
        _share("b", column.token_b, column.probability_b),
        _share("b of a's", column.token_a, column.probability_b_of_a if column.op != "equal" else None),
    )
    return "\n".join(line for line in lines if line)


def _share(who: str, token: str | None, probability: float | None) -> str:
    return "" if token is None or probability is None else escape(f"{who} {token!r}: {probability:.2%}")
