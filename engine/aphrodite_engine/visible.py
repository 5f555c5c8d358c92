"""Text with every character to be seen: a space is ␣, a newline ⏎."""

from __future__ import annotations

_GLYPHS = str.maketrans({" ": "␣", "\n": "⏎", "\t": "⇥", "\r": "␍"})


def visible(text: str) -> str:
    """Whitespace as signs, what cannot be printed as its code; "∅" for no text at all."""
    shown = text.translate(_GLYPHS)
    if not shown.isprintable():
        shown = "".join(char if char.isprintable() else _code(char) for char in shown)
    return shown or "∅"


def _code(char: str) -> str:
    return f"\\x{ord(char):02x}" if ord(char) < 256 else f"\\u{ord(char):04x}"
