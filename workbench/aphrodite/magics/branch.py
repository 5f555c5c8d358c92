"""`%aphrodite branch AT`: write on from a position of a generation, with another token, seed or other fields."""

from __future__ import annotations

import argparse

from aphrodite.display.generation import Generation
from aphrodite.magics.command import Command
from aphrodite.magics.into import add_into_flag, given
from aphrodite.magics.kept import add_of_flag, generation_of
from aphrodite.magics.notebook import Notebook
from aphrodite.magics.parser import add_field_flag
from aphrodite.sampling_flags import add_sampling_flags, sampling_fields


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("at", type=int, metavar="AT", help="position of the first token that may change, from 0")
    parser.add_argument("--token", metavar="TEXT|ID",
                        help="the token to put there: a text that is exactly one, or an id")  # fmt: skip
    parser.add_argument("--index", type=int, default=0, metavar="N", help="of the sequence, where it has several")
    add_of_flag(parser)
    add_into_flag(parser)
    add_field_flag(parser)
    add_sampling_flags(parser)


def run(notebook: Notebook, arguments: argparse.Namespace) -> Generation | None:
    fields = {**dict(arguments.fields), **sampling_fields(arguments)}
    seed = fields.pop("seed", None)
    parent = generation_of(notebook, arguments.of)
    notebook.last = parent.branch(arguments.at, _token(arguments.token), seed, arguments.index, **fields)
    return given(notebook, arguments.into, notebook.last)


def _token(text: str | None) -> int | str | None:
    """Digits are an id; a text of digits in quotes of its own is a text: --token '"7"'."""
    if text is None:
        return None
    if len(text) > 2 and text[0] == text[-1] == '"':
        return text[1:-1]
    return int(text) if text.isdecimal() else text


COMMAND = Command("branch", "Write on from a position with another token, seed or other fields.", add_arguments, run)
