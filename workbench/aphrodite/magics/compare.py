"""`%aphrodite compare A B`: where two generations part, and how likely each held the other's tokens."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from aphrodite.magics.command import Command
from aphrodite.magics.into import add_into_flag, given
from aphrodite.magics.kept import generation_of
from aphrodite.magics.notebook import Notebook

if TYPE_CHECKING:  # difflib and the lab are for those who compare
    from aphrodite.lab import Comparison


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("a", metavar="A", help="a variable that holds a generation")
    parser.add_argument("b", metavar="B", help="another one")
    add_into_flag(parser)


def run(notebook: Notebook, arguments: argparse.Namespace) -> Comparison | None:
    a, b = (generation_of(notebook, name, "compare") for name in (arguments.a, arguments.b))
    return given(notebook, arguments.into, a.compare(b))


COMMAND = Command("compare", "See where two generations part.", add_arguments, run)
