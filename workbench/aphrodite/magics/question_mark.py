"""`%aphrodite generate?`, `%aphrodite?` and `%%aphrodite?` show the help of what they name."""

from __future__ import annotations

import re

from aphrodite.magics import commands

_ASKED = re.compile(r"\s*(%{1,2})aphrodite(?:[ \t]+([\w-]+))?[ \t]*\?{1,2}\s*")
_CELL_HELP = re.compile(r"\s*%%aphrodite[ \t]+(?:-h|--help)\s*")
#: With a line below it: IPython refuses a cell magic that has none.
_SHOWN = ["%%aphrodite --help\n", "\n"]


def help_asked(lines: list[str]) -> list[str]:
    """A transformation of IPython's input; IPython itself would look the word up as a variable.

    Text that merely ends in a question mark stays as it is.
    """
    text = "".join(lines)
    if _CELL_HELP.fullmatch(text):
        return _SHOWN
    found = _ASKED.fullmatch(text)
    if found is None:
        return lines
    percent, name = found[1], found[2]
    if percent == "%%":
        return lines if name else _SHOWN
    if name is None:
        return ["%aphrodite help\n"]
    return [f"%aphrodite {name} --help\n"] if name in commands.names() else lines
