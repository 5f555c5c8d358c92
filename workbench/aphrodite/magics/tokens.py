"""`%aphrodite tokens`: the tokens of a generation with their probabilities, or how the model reads a text."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from aphrodite.display.tokens import token_rows
from aphrodite.magics.command import Command
from aphrodite.magics.errors import UsageError
from aphrodite.magics.into import add_into_flag, given
from aphrodite.magics.kept import add_of_flag, generation_of
from aphrodite.magics.notebook import Notebook
from aphrodite.magics.templating import fill
from aphrodite_engine.tokens import Token
from aphrodite_engine.visible import visible

if TYPE_CHECKING:  # pandas takes half a second
    import pandas as pd

    from aphrodite.display.generation import Generation


def add_arguments(parser: argparse.ArgumentParser) -> None:
    meaning = "in quotes: how the model reads it (default: the last generation); {{expr}} stands for a variable"
    parser.add_argument("text", nargs="?", help=meaning)
    parser.add_argument("-m", "--model", help="(default: the only one)")
    parser.add_argument("--raw", action="store_true", help="braces are text: no {{expr}}")
    add_of_flag(parser)
    add_into_flag(parser)


def run(notebook: Notebook, arguments: argparse.Namespace) -> pd.DataFrame | None:
    if arguments.text is None:
        return given(notebook, arguments.into, _drawn(generation_of(notebook, arguments.of)))
    if arguments.of is not None:
        raise UsageError(f"tokens: either a text, or --of {arguments.of}")
    return given(notebook, arguments.into, _read(notebook, arguments))


def _read(notebook: Notebook, arguments: argparse.Namespace) -> pd.DataFrame:
    import pandas as pd

    text = arguments.text if arguments.raw else fill(arguments.text, notebook.names)
    tokens = notebook.client().tokens(text, model=notebook.model(arguments.model))
    return pd.DataFrame(tokens, columns=["token_id", "text"])


def _drawn(generation: Generation) -> pd.DataFrame:
    """A row a token: what `tokens_df` has, to four places, and what else could have stood there."""
    import pandas as pd

    outputs = generation.result.outputs
    rows = [
        row | {"alternatives": _others(token)}
        for output in outputs
        for row, token in zip(token_rows(output), output.tokens, strict=True)
    ]
    frame = pd.DataFrame(rows).drop(columns=["logprob", "probability", *([] if len(outputs) > 1 else ["index"])])
    return frame.round(4)


def _others(token: Token) -> str:
    listed = (f"{visible(a.text)} {a.probability:.1%}" for a in token.alternatives if a.token_id != token.token_id)
    return ", ".join(listed)


COMMAND = Command("tokens", "The tokens of a generation with their probabilities, or of a text.", add_arguments, run)
