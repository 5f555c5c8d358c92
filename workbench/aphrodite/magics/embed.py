"""`%aphrodite embed "text" ...`: vectors as an array."""

from __future__ import annotations

import argparse
from typing import Any

from aphrodite.magics.command import Command
from aphrodite.magics.errors import UsageError
from aphrodite.magics.notebook import Notebook
from aphrodite.magics.templating import fill
from aphrodite.magics.texts import texts_of

#: Texts of one request while a bar shows how far it is.
_TOGETHER = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", nargs="*", metavar="TEXT", help="in quotes")
    parser.add_argument("--texts", metavar="NAME", help="a variable that holds them: a list, or a column (df.name)")
    parser.add_argument("-m", "--model", help="(default: the only one)")
    parser.add_argument("--pooling", choices=("mean", "cls", "last"), help="(default: what the model says)")
    parser.add_argument("-o", "--into", metavar="NAME", help="keep the vectors in this variable")


def run(notebook: Notebook, arguments: argparse.Namespace) -> Any:
    texts = [fill(text, notebook.names) for text in arguments.text]
    texts += texts_of(notebook, "--texts", arguments.texts) if arguments.texts else []
    if not texts:
        raise UsageError("embed: give texts in quotes, or --texts with a variable that holds some")
    vectors = _embedded(notebook, arguments, texts)
    if arguments.into:
        notebook.names[arguments.into] = vectors
        return None
    return vectors


def _embedded(notebook: Notebook, arguments: argparse.Namespace, texts: list[str]) -> Any:
    import numpy as np
    from tqdm.auto import tqdm

    client, model = notebook.client(), notebook.model(arguments.model)
    is_long = len(texts) > _TOGETHER
    if is_long:
        print(f"{len(texts):,} texts")
    with tqdm(
        total=len(texts), unit="text", leave=False, disable=not is_long or notebook.settings.display != "rich"
    ) as bar:
        rows = []
        for first in range(0, len(texts), _TOGETHER):
            part = texts[first : first + _TOGETHER]
            rows.append(client.embed(part, pooling=arguments.pooling, model=model))
            bar.update(len(part))
    return np.concatenate(rows)


COMMAND = Command("embed", "Turn texts into vectors.", add_arguments, run)
