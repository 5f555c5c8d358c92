"""`%aphrodite generate "prompt"`: write on from a prompt, on one line; several prompts are answered together."""

from __future__ import annotations

import argparse
from typing import Any

from aphrodite.display.generation import Generation, Generations
from aphrodite.magics import prompt_cell
from aphrodite.magics.command import Command
from aphrodite.magics.notebook import Notebook


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompts", nargs="+", metavar="PROMPT", help="in quotes; several are answered together")
    prompt_cell.add_prompt_flags(parser)


def run(notebook: Notebook, arguments: argparse.Namespace) -> Any:
    asked = [prompt_cell.ask(notebook, arguments, prompt) for prompt in arguments.prompts]
    if isinstance(asked[0].prompt, str):
        results = notebook.client().generate([a.prompt for a in asked], asked[0].params, model=asked[0].model)  # type: ignore[misc]
    else:
        results = notebook.client().chat([a.prompt for a in asked], asked[0].params, model=asked[0].model)  # type: ignore[misc]
    found = [Generation(result, a.model, a.fields) for result, a in zip(results, asked, strict=True)]
    value = found[0] if len(found) == 1 else Generations(found)
    if arguments.into:
        notebook.names[arguments.into] = value
        return None
    return value


COMMAND = Command("generate", "Write on from a prompt.", add_arguments, run)
