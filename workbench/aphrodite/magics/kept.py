"""The generation that a sub-command means: the one in a variable, or the last one."""

from __future__ import annotations

import argparse

from aphrodite.display.generation import Generation
from aphrodite.magics.errors import UsageError
from aphrodite.magics.notebook import Notebook
from aphrodite.magics.templating import value_of
from aphrodite_engine.outputs import GenerationResult


def add_of_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--of", metavar="NAME", help="a variable that holds a generation (default: the last one)")


def generation_of(notebook: Notebook, name: str | None, where: str = "--of") -> Generation:
    """
    Raises:
        UsageError: nothing was generated yet, or the variable holds something else.
    """
    if name is None:
        if not isinstance(notebook.last, Generation):
            raise UsageError("nothing was generated in this notebook yet: run %%aphrodite, or name a generation")
        return notebook.last
    found = value_of(name, notebook.names)
    if isinstance(found, GenerationResult):
        return Generation(found, notebook.model(), {})
    if not isinstance(found, Generation):
        raise UsageError(f"{where} {name}: a generation, not {type(found).__name__}")
    return found
