"""`%aphrodite generate "prompt"`: write on from a prompt, on one line; several prompts are answered together."""

from __future__ import annotations

import argparse
from typing import Any

from aphrodite.magics import prompt_cell
from aphrodite.magics.asked import asked
from aphrodite.magics.command import Command
from aphrodite.magics.errors import UsageError
from aphrodite.magics.into import given
from aphrodite.magics.many import answer_all
from aphrodite.magics.notebook import Notebook
from aphrodite.magics.texts import texts_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompt", nargs="*", metavar="PROMPT", help="in quotes; several are answered together")
    parser.add_argument("--prompts", metavar="NAME", help="a variable that holds them: a list, or a column (df.name)")
    prompt_cell.add_prompt_flags(parser)


def run(notebook: Notebook, arguments: argparse.Namespace) -> Any:
    listed = texts_of(notebook, "--prompts", arguments.prompts) if arguments.prompts else []
    if not (arguments.prompt or listed):
        raise UsageError("generate: give a prompt in quotes, or --prompts with a variable that holds some")
    if len(arguments.prompt) == 1 and not listed:
        return prompt_cell.value(notebook, arguments, arguments.prompt[0])
    if arguments.chat:
        raise UsageError(f"--chat {arguments.chat}: a conversation goes on with one prompt, not with several")
    requests = [asked(notebook, arguments, prompt) for prompt in arguments.prompt]
    arguments.raw = True  # texts of a variable are data: their braces mean nothing
    requests += [asked(notebook, arguments, prompt) for prompt in listed]
    answers = answer_all(notebook, requests)
    if answers:  # none where they were interrupted at once
        notebook.last = answers[-1]
    return given(notebook, arguments.into, answers)


COMMAND = Command("generate", "Write on from a prompt, or from many.", add_arguments, run)
