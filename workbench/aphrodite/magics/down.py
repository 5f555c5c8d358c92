"""`%aphrodite down`: end the service."""

from __future__ import annotations

import argparse

from aphrodite.magics.command import Command
from aphrodite.magics.notebook import Notebook


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, metavar="N", help="(default: that of the service this notebook uses)")


def run(notebook: Notebook, arguments: argparse.Namespace) -> None:
    from aphrodite.service import daemon

    daemon.down(notebook.port() if arguments.port is None else arguments.port)
    notebook.disconnect()
    print("the service has ended; its memory is free")


COMMAND = Command("down", "End the service; running requests finish first.", add_arguments, run)
