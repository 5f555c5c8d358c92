"""Text in Markdown that shows as it is, whatever a model wrote: no markup of its own comes through."""

from __future__ import annotations

import re
from collections.abc import Sequence

_ANYWHERE = str.maketrans({char: f"\\{char}" for char in "\\`*_[]<>&~$|"})
_AT_THE_START = re.compile(r"^([#+=-]|\d+(?=[.)]))")
_NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"


def escaped(line: str) -> str:
    """One line; what could mean something has a backslash, and its indentation stays."""
    bare = line.lstrip()
    lead = _NO_BREAK_SPACE * (len(line) - len(bare))
    return lead + _AT_THE_START.sub(_out_of_a_list, bare.translate(_ANYWHERE))


def _out_of_a_list(start: re.Match[str]) -> str:
    return f"{start[0]}\\" if start[0].isdecimal() else f"\\{start[0]}"


def quoted(text: str) -> str:
    """A block quotation that keeps its lines."""
    lines = text.splitlines() or [""]
    following = [*lines[1:], ""]
    return "\n".join(
        f"> {escaped(line)}".rstrip() + ("\\" if line and after else "")
        for line, after in zip(lines, following, strict=True)
    )


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of plain texts."""
    lines = [header, ["---"] * len(header), *([_cell(text) for text in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return escaped(" ⏎ ".join(text.splitlines()))
