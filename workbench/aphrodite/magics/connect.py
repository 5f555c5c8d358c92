"""`%aphrodite connect URL`: use somebody's service."""

from __future__ import annotations

import argparse
import os

from aphrodite.magics.command import Command
from aphrodite.magics.errors import UsageError
from aphrodite.magics.notebook import Notebook


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", nargs="?", help="such as http://host:2242 (default: the service on this machine)")
    parser.add_argument("--key-variable", metavar="NAME",
                        help="environment variable with the key: a key in a cell is a key in the file "
                             "(default: APHRODITE_API_KEY)")  # fmt: skip


def run(notebook: Notebook, arguments: argparse.Namespace) -> None:
    client = notebook.connect(arguments.url, _key(arguments.key_variable))
    print(f"connected to {client.url}: {', '.join(model.id for model in client.models()) or 'no model is loaded'}")


def _key(variable: str | None) -> str | None:
    if variable is not None and not os.environ.get(variable):
        raise UsageError(f"--key-variable {variable}: no such environment variable")
    return os.environ[variable] if variable else None


COMMAND = Command("connect", "Use the service at an address, or the one on this machine.", add_arguments, run)
