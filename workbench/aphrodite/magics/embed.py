"""`%aphrodite embed "text" ...`: vectors as an array."""

from __future__ import annotations

import argparse
from typing import Any

from aphrodite.magics.command import Command
from aphrodite.magics.errors import UsageError
from aphrodite.magics.notebook import Notebook


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="in quotes")
    parser.add_argument("--of", metavar="NAME", help="a variable that holds a list of texts")
    parser.add_argument("-m", "--model", help="(default: the only one)")
    parser.add_argument("--pooling", choices=("mean", "cls", "last"), help="(default: what the model says)")
    parser.add_argument("-o", "--into", metavar="NAME", help="keep the vectors in this variable")


def run(notebook: Notebook, arguments: argparse.Namespace) -> Any:
    texts = [*arguments.texts, *(_listed(notebook, arguments.of) if arguments.of else ())]
    if not texts:
        raise UsageError("embed: give texts, or --of a variable that holds a list of them")
    vectors = notebook.client().embed(texts, pooling=arguments.pooling, model=notebook.model(arguments.model))
    if arguments.into:
        notebook.names[arguments.into] = vectors
        return None
    return vectors


def _listed(notebook: Notebook, name: str) -> list[str]:
    found = notebook.names.get(name)
    if found is None or isinstance(found, str):
        raise UsageError(f"--of {name}: a variable that holds a list of texts")
    return [str(text) for text in found]


COMMAND = Command("embed", "Turn texts into vectors.", add_arguments, run)
