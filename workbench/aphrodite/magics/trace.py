"""`%aphrodite trace "prompt"`: generate, and see what every stage of sampling did to each token."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from aphrodite.magics import prompt_cell
from aphrodite.magics.asked import asked
from aphrodite.magics.command import Command
from aphrodite.magics.many import answer_all
from aphrodite.magics.notebook import Notebook

if TYPE_CHECKING:
    from aphrodite.display.trace import Trace

#: Candidates a stage, unless --trace says otherwise.
_CANDIDATES = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompt", metavar="PROMPT", help="in quotes")
    prompt_cell.add_prompt_flags(parser)


def run(notebook: Notebook, arguments: argparse.Namespace) -> Trace | None:
    request = asked(notebook, arguments, arguments.prompt)
    if request.params.trace is None:
        request = request.with_fields(trace=_CANDIDATES)
    answers = answer_all(notebook, [request])
    if not answers:  # interrupted
        return None
    if arguments.into:
        notebook.names[arguments.into] = answers[0].trace
        return None
    return answers[0].trace


COMMAND = Command("trace", "See what every stage of sampling did to each token.", add_arguments, run)
