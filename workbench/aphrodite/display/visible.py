"""Visible text for HTML."""

from __future__ import annotations

from functools import lru_cache
from html import escape

from aphrodite_engine.visible import visible


@lru_cache(maxsize=16384)  # the same few thousand tokens come again and again
def visible_html(text: str) -> str:
    """Every character to be seen, safe between quotes and between tags."""
    return escape(visible(text))
