"""`%aphrodite help`: the sub-commands."""

from __future__ import annotations

from aphrodite.magics import commands
from aphrodite.magics.command import Command, no_arguments
from aphrodite.magics.notebook import Notebook


def run(notebook: Notebook, arguments: object) -> None:
    width = max(map(len, commands.names()))
    print("%%aphrodite [flags]      the cell is the prompt (--help lists the flags)")
    for name in commands.names():
        print(f"%aphrodite {name:<{width}}  {commands.find(name).summary}")


COMMAND = Command("help", "This list.", no_arguments, run)
