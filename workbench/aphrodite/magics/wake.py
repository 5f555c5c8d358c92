"""`%aphrodite wake`."""

from __future__ import annotations

import argparse

from aphrodite.magics.command import Command
from aphrodite.magics.notebook import Notebook


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", nargs="?", help="(default: the only one)")


def run(notebook: Notebook, arguments: argparse.Namespace) -> None:
    model = notebook.model(arguments.model)
    with notebook.admin() as client:
        client.wake(model)
    notebook.forget_model()
    print(f"{model} is awake")


COMMAND = Command("wake", "Load a sleeping model again.", add_arguments, run)
