"""`%aphrodite play`: a small playground inside the notebook."""

from __future__ import annotations

import argparse

from aphrodite.magics.command import Command
from aphrodite.magics.errors import UsageError
from aphrodite.magics.notebook import Notebook
from aphrodite.magics.play_board import PlayBoard


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompt", nargs="?", default="", help="to begin with, in quotes")
    parser.add_argument("-m", "--model", help="a served model (default: the only one)")


def run(notebook: Notebook, arguments: argparse.Namespace) -> PlayBoard:
    if notebook.is_terminal:
        raise UsageError("play: needs a notebook; in a terminal %aphrodite ui shows the address of the playground")
    return PlayBoard(notebook, notebook.model(arguments.model), arguments.prompt)


COMMAND = Command("play", "A small playground inside the notebook.", add_arguments, run)
