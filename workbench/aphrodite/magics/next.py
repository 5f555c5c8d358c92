"""`%aphrodite next PROMPT`: what may come next, stage by stage, without going on."""

from __future__ import annotations

import argparse

from aphrodite.display.stages import Stages
from aphrodite.magics import prompt_cell
from aphrodite.magics.asked import asked
from aphrodite.magics.command import Command
from aphrodite.magics.into import given
from aphrodite.magics.notebook import Notebook


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompt", metavar="PROMPT", help="in quotes")
    parser.add_argument("--top", type=int, default=10, metavar="N", help="tokens told behind each stage (default: 10)")
    prompt_cell.add_prompt_flags(parser)


def run(notebook: Notebook, arguments: argparse.Namespace) -> Stages | None:
    request = asked(notebook, arguments, arguments.prompt)
    client = notebook.client()
    found = client.next_token(request.prompt, request.params, arguments.top, model=request.model)
    return given(notebook, arguments.into, Stages(found.stages))


COMMAND = Command("next", "See what may come next, stage by stage, without going on.", add_arguments, run)
