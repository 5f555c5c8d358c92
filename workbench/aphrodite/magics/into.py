"""`--into NAME`: a value goes into a variable, and is not shown."""

from __future__ import annotations

import argparse
from typing import TypeVar

from aphrodite.magics.errors import UsageError
from aphrodite.magics.notebook import Notebook

T = TypeVar("T")


def add_into_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--into", metavar="NAME", help="keep the result in this variable")


def check_into(name: str | None) -> None:
    """
    Raises:
        UsageError: it cannot be the name of a variable.
    """
    if name is not None and not name.isidentifier():
        raise UsageError(f"--into {name!r} is not the name of a variable")


def given(notebook: Notebook, name: str | None, value: T) -> T | None:
    """The value to show; None where the variable has taken it.

    Raises:
        UsageError: it cannot be the name of a variable.
    """
    check_into(name)
    if name is None:
        return value
    notebook.names[name] = value
    return None
