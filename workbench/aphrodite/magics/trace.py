"""`%aphrodite trace`: what every stage of sampling did to each token, or to one of them as small multiples."""

from __future__ import annotations

import argparse

from aphrodite.display.generation import Generation
from aphrodite.display.stages import Stages
from aphrodite.display.trace import Trace
from aphrodite.magics import prompt_cell
from aphrodite.magics.asked import asked
from aphrodite.magics.command import Command
from aphrodite.magics.errors import UsageError
from aphrodite.magics.into import check_into, given
from aphrodite.magics.kept import add_of_flag, generation_of
from aphrodite.magics.many import answer_all
from aphrodite.magics.notebook import Notebook

#: Candidates a stage, unless --trace says otherwise.
_CANDIDATES = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompt", nargs="?", metavar="PROMPT", help="in quotes (default: the last generation)")
    parser.add_argument("--at", type=int, metavar="N", help="the stages of this token, from 0, as small multiples")
    add_of_flag(parser)
    prompt_cell.add_prompt_flags(parser)


def run(notebook: Notebook, arguments: argparse.Namespace) -> Trace | Stages | None:
    check_into(arguments.into)
    traced = _traced(notebook, arguments)
    if traced is None:  # interrupted
        return None
    return given(notebook, arguments.into, traced.trace if arguments.at is None else traced.stages(arguments.at))


def _traced(notebook: Notebook, arguments: argparse.Namespace) -> Generation | None:
    if arguments.prompt is not None:
        if arguments.of is not None:
            raise UsageError(f"trace: either a prompt, or --of {arguments.of}")
        return _asked(notebook, arguments)
    found = generation_of(notebook, arguments.of)
    if found.result.outputs[0].traces is not None:
        return found
    return _again(found)


def _asked(notebook: Notebook, arguments: argparse.Namespace) -> Generation | None:
    request = asked(notebook, arguments, arguments.prompt)
    if request.params.trace is None:
        request = request.with_fields(trace=_CANDIDATES)
    answers = answer_all(notebook, [request])
    if answers:
        notebook.last = answers[0]
    return answers[0] if answers else None


def _again(found: Generation) -> Generation:
    """The same tokens with their stages: the same request draws them again."""
    result = found.result.branch(0, trace=_CANDIDATES)
    return Generation(result, found.model, found.params | {"trace": _CANDIDATES}, found.shade, found.question)


COMMAND = Command("trace", "See what every stage of sampling did to each token.", add_arguments, run)
