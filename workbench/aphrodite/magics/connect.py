"""`%aphrodite connect URL`: use somebody's service."""

from __future__ import annotations

import argparse

from aphrodite.magics.command import Command
from aphrodite.magics.notebook import Notebook


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", nargs="?", help="such as http://host:2242 (default: the service on this machine)")
    parser.add_argument("--key-variable", default="APHRODITE_API_KEY", metavar="NAME",
                        help="environment variable with the key: a key in a cell is a key in the file")  # fmt: skip


def run(notebook: Notebook, arguments: argparse.Namespace) -> None:
    import os

    client = notebook.connect(arguments.url, os.environ.get(arguments.key_variable))
    print(f"connected to {client.url}: {', '.join(model.id for model in client.models())}")


COMMAND = Command("connect", "Use the service at an address, or the one on this machine.", add_arguments, run)
