"""What people see: results on stdout, everything else on stderr, colours only on a terminal."""

from __future__ import annotations

import os
import sys
from typing import TextIO

_CODES = {"bold": "1", "dim": "2", "green": "32", "red": "31", "cyan": "36"}


def paint(text: str, *styles: str, stream: TextIO | None = None) -> str:
    """Text in a colour where the stream is a terminal and NO_COLOR (no-color.org) is not set."""
    if not (stream or sys.stdout).isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return "".join(f"\033[{_CODES[style]}m" for style in styles) + text + "\033[0m"


def note(text: str) -> None:
    """A line for the person, not for a pipe."""
    print(paint(text, "dim", stream=sys.stderr), file=sys.stderr, flush=True)


def write(text: str) -> None:
    """A piece of the result, seen at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def speed(tokens: int, seconds: float) -> str:
    """'41 tokens, 512 tok/s'."""
    unit = "token" if tokens == 1 else "tokens"
    return f"{tokens} {unit}" if seconds <= 0 or tokens < 2 else f"{tokens} {unit}, {tokens / seconds:.0f} tok/s"


def size(num_bytes: float) -> str:
    """'17.5 MiB'."""
    for unit in ("B", "KiB", "MiB"):
        if num_bytes < 1024:
            return f"{num_bytes:.0f} B" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1024
    return f"{num_bytes:.1f} GiB"
