"""`%aphrodite help`: the sub-commands, or one of them."""

from __future__ import annotations

import argparse

from aphrodite.magics import commands
from aphrodite.magics.command import Command
from aphrodite.magics.notebook import Notebook
from aphrodite.magics.parser import parser_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("command", nargs="?", choices=commands.names(), metavar="SUB-COMMAND", help="(default: all)")


def run(notebook: Notebook, arguments: argparse.Namespace) -> None:
    if arguments.command:
        parser_of(commands.find(arguments.command)).print_help()
        return
    width = max(map(len, commands.names()))
    print(f"{'%%aphrodite [flags]':<{width + 11}}  the cell is the prompt (--help lists the flags)")
    for name in commands.names():
        print(f"%aphrodite {name:<{width}}  {commands.find(name).summary}")


COMMAND = Command("help", "This list, or a sub-command's flags.", add_arguments, run)
