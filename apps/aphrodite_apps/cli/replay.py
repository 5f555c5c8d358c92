"""`aphrodite replay`: make a result again from its recipe, or say what differs."""

from __future__ import annotations

import argparse

import aphrodite
from aphrodite_apps.cli import terminal
from aphrodite_apps.cli.command import Command, UsageError
from aphrodite_apps.cli.engine_flags import add_engine_flags, engine_options
from aphrodite_apps.cli.loading import open_model

EPILOG = """examples:
  aphrodite generate "Once upon a time" --recipe story.json
  aphrodite replay story.json
  aphrodite replay story.json --url http://host:2242

Exit code 0: every token is the same. 1: some are not; standard output says where, with both texts, and what of the
model and its build is not what it was.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", metavar="FILE", help="written by --recipe, or by result.recipe.save(...)")
    parser.add_argument("-m", "--model", help="a model folder, a Hugging Face id, or demo (default: the recipe's)")
    parser.add_argument("--url", help="ask the service there, with APHRODITE_API_KEY (default: load the model here)")
    parser.add_argument("-q", "--quiet", action="store_true", help="no text on stdout (default: shown)")
    add_engine_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    recipe = aphrodite.Recipe.load(arguments.recipe)
    replayed = _with_service(recipe, arguments) if arguments.url else _here(recipe, arguments)
    if not arguments.quiet:
        print(replayed.result.text)
    for line in str(replayed).splitlines():
        terminal.note(line) if replayed.same else print(line)
    return 0 if replayed.same else 1


def _with_service(recipe: aphrodite.Recipe, arguments: argparse.Namespace) -> aphrodite.Replayed:
    if given := engine_options(arguments):
        raise UsageError(f"--{next(iter(given)).replace('_', '-')} is for a model that is loaded here, not for --url")
    with aphrodite.Client(arguments.url, model=arguments.model) as client:
        return client.replay(recipe)


def _here(recipe: aphrodite.Recipe, arguments: argparse.Namespace) -> aphrodite.Replayed:
    """With the recipe's own number formats, unless flags say otherwise."""
    arguments.model = arguments.model or recipe.model
    for name in ("dtype", "quantization", "determinism"):
        if not hasattr(arguments, name):
            setattr(arguments, name, getattr(recipe.build, name))
    with open_model(arguments) as llm:
        return llm.replay(recipe)


COMMAND = Command("replay", "make a result again, or say what differs", add_arguments, run, "FILE [flags]", EPILOG)
