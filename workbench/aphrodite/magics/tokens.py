"""`%aphrodite tokens "text"`: how the model reads a text."""

from __future__ import annotations

import argparse
from typing import Any

from aphrodite.magics.command import Command
from aphrodite.magics.notebook import Notebook


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", help="in quotes")
    parser.add_argument("-m", "--model", help="(default: the only one)")


def run(notebook: Notebook, arguments: argparse.Namespace) -> Any:
    import pandas as pd

    client, model = notebook.client(), notebook.model(arguments.model)
    ids = client.tokenize(arguments.text, model=model)
    return pd.DataFrame({"token_id": ids, "text": [client.detokenize([i], model=model) for i in ids]})


COMMAND = Command("tokens", "Show how the model reads a text.", add_arguments, run)
