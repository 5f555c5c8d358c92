"""`%aphrodite tokens "text"`: how the model reads a text."""

from __future__ import annotations

import argparse
from typing import Any

from aphrodite.magics.command import Command
from aphrodite.magics.notebook import Notebook
from aphrodite.magics.templating import fill


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", help="in quotes; {{expr}} stands for a variable")
    parser.add_argument("-m", "--model", help="(default: the only one)")
    parser.add_argument("--raw", action="store_true", help="braces are text: no {{expr}}")


def run(notebook: Notebook, arguments: argparse.Namespace) -> Any:
    import pandas as pd

    text = arguments.text if arguments.raw else fill(arguments.text, notebook.names)
    tokens = notebook.client().tokens(text, model=notebook.model(arguments.model))
    return pd.DataFrame(tokens, columns=["token_id", "text"])


COMMAND = Command("tokens", "Show how the model reads a text.", add_arguments, run)
