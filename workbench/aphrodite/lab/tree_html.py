"""A tree of texts as HTML without script: nested lists, so that even a page without styles indents it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_TEXT = "white-space:pre-wrap;overflow-wrap:anywhere"


def html(nodes: Sequence[tuple[int, str, str]]) -> str:
    """
    Args:
        nodes: depth, what is said of it, and its text; a child stands behind its parent, one deeper.
    """
    parts: list[str] = []
    above = -1
    for depth, lead, text in nodes:
        parts.append("<ul>" if depth > above else "</li>" + "</ul></li>" * (above - depth))
        parts.append(f'<li><b>{escape(lead)}</b><div style="{_TEXT}">{escape(text)}</div>')
        above = depth
    return f'<div class="aphrodite">{"".join(parts)}{"</li></ul>" * (above + 1)}</div>'
