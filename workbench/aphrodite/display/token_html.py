"""Tokens as HTML: the less likely a token was, the stronger its shade; hovering shows what else could have come.

Inline styles, no script: it looks the same in JupyterLab's light and dark themes, in VS Code and on a static page.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

_FRAME = "white-space:pre-wrap;line-height:1.7;font-family:inherit;overflow-wrap:anywhere"
#: Amber on any background: the shade is transparent, the text keeps the theme's colour.
_SHADE = "255,152,0"
_STRONGEST = 0.75


def shaded(tokens: Sequence[Any], text: str) -> str:
    """One sequence; its plain text where no probabilities were reported."""
    if not tokens or tokens[0].probability is None:
        return f'<div style="{_FRAME}">{escape(text)}</div>'
    return f'<div style="{_FRAME}">{"".join(map(_span, tokens))}</div>'


def _span(token: Any) -> str:
    surprise = 1 - token.probability
    style = f"background:rgba({_SHADE},{_STRONGEST * surprise:.2f});border-radius:.2em"
    return f'<span style="{style}" title="{escape(_tooltip(token))}">{escape(token.text)}</span>'


def _tooltip(token: Any) -> str:
    lines = [f"{token.text!r}  {token.probability:.1%}  rank {token.rank}"]
    others = [a for a in token.alternatives if a.token_id != token.token_id]
    return "\n".join(lines + [f"{other.text!r}  {other.probability:.1%}" for other in others])
