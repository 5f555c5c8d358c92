"""`%aphrodite share NAME`: a key for a teammate, with what to paste."""

from __future__ import annotations

import argparse

from aphrodite.magics.command import Command
from aphrodite.magics.notebook import Notebook
from aphrodite.magics.shared_key import SharedKey, make_key


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from aphrodite.limit_flags import add_limit_flags

    parser.add_argument("name", metavar="NAME", help="whose key it is")
    add_limit_flags(parser)


def run(notebook: Notebook, arguments: argparse.Namespace) -> SharedKey:
    return make_key(notebook, arguments)


COMMAND = Command("share", "Make a key for a teammate, with what to paste.", add_arguments, run)
