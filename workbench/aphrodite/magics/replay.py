"""`%aphrodite replay`: make a result, or what a recipe file tells of, again, and say whether it is the same."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from aphrodite.magics.command import Command
from aphrodite.magics.errors import UsageError
from aphrodite.magics.into import add_into_flag, given
from aphrodite.magics.kept import generation_of
from aphrodite.magics.notebook import Notebook
from aphrodite.magics.templating import value_of

if TYPE_CHECKING:  # only who replays needs it
    from aphrodite_engine.asking.replay import Replayed
    from aphrodite_engine.recipe import Recipe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    meaning = "a recipe file, or a variable with a generation, a recipe or a path (default: the last generation)"
    parser.add_argument("what", nargs="?", metavar="FILE|NAME", help=meaning)
    add_into_flag(parser)


def run(notebook: Notebook, arguments: argparse.Namespace) -> Replayed | None:
    recipe = _recipe(notebook, arguments.what)
    return given(notebook, arguments.into, notebook.client().replay(recipe))


def _recipe(notebook: Notebook, what: str | None) -> Recipe:
    from aphrodite_engine.recipe import Recipe

    if what is None:
        return generation_of(notebook, None).recipe
    if Path(what).is_file():
        return Recipe.load(Path(what))
    if what.endswith(".json") or "/" in what:
        raise UsageError(f"replay {what}: no such file")
    found = value_of(what, notebook.names)
    if isinstance(found, str | Path):
        return Recipe.load(Path(found))
    return found if isinstance(found, Recipe) else generation_of(notebook, what, "replay").recipe


COMMAND = Command("replay", "Make a generation again, and say whether it is the same.", add_arguments, run)
