"""argparse for notebooks: mistakes are one line, `--help` prints and returns."""

from __future__ import annotations

import argparse
import shlex
from typing import Any, NoReturn

from aphrodite.argument_parser import OneLineParser
from aphrodite.magics.command import Command
from aphrodite.magics.errors import UsageError


class HelpShown(Exception):
    """`--help` was asked for and printed: nothing is left to do."""


class Parser(OneLineParser):
    """One sub-command's flags."""

    mistake = UsageError

    def __init__(self, prog: str, description: str) -> None:
        super().__init__(
            prog=prog,
            description=description,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        raise HelpShown


def parser_of(command: Command) -> Parser:
    """The flags of one sub-command."""
    parser = Parser(f"%aphrodite {command.name}", command.summary)
    command.add_arguments(parser)
    return parser


def words_of(line: str) -> list[str]:
    """A magic's line as a shell would split it.

    Raises:
        UsageError: a quotation that does not end.
    """
    try:
        return shlex.split(line)
    except ValueError as error:
        raise UsageError(f"{error}: {line.strip()[:80]}") from None


def add_field_flag(parser: argparse.ArgumentParser) -> None:
    """`-p key=value`: any field of SamplingParams, as JSON where it is JSON."""
    parser.add_argument("-p", dest="fields", action="append", default=[], metavar="KEY=VALUE", type=_field,
                        help="any sampling field, such as -p logit_bias='{\"5\": -100}'; repeatable")  # fmt: skip


def _field(text: str) -> tuple[str, Any]:
    import json

    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not key=value")
    try:
        found = json.loads(value)
    except ValueError:
        found = value
    if name == "logit_bias" and isinstance(found, dict):
        found = {int(key): item for key, item in found.items()}
    return name.replace("-", "_"), found
