"""`%aphrodite unload`."""

from __future__ import annotations

import argparse

from aphrodite.magics.command import Command
from aphrodite.magics.notebook import Notebook


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", nargs="?", help="(default: the only one)")


def run(notebook: Notebook, arguments: argparse.Namespace) -> None:
    model = notebook.model(arguments.model)
    with notebook.admin() as client:
        client.unload(model)
    notebook.forget_model()
    print(f"{model} is not served any more")


COMMAND = Command("unload", "Stop serving a model.", add_arguments, run)
