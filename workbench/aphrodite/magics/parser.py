"""argparse for notebooks: mistakes are one line, `--help` prints and returns."""

from __future__ import annotations

import argparse
import difflib
import shlex
from collections.abc import Sequence
from typing import Any, NoReturn

from aphrodite.magics.errors import UsageError


class HelpShown(Exception):
    """`--help` was asked for and printed: nothing is left to do."""


class Parser(argparse.ArgumentParser):
    """One sub-command's flags."""

    def __init__(self, prog: str, description: str) -> None:
        super().__init__(
            prog=prog,
            description=description,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        raise HelpShown

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """Parse all words; what nobody knows is a UsageError that names the nearest flag."""
        arguments, unknown = self.parse_known_args(words)
        if unknown:
            flag = next((word for word in unknown if word.startswith("-")), None)
            if flag is None:
                self.error(f"unexpected {unknown[0]!r}")
            name = flag.split("=", 1)[0]
            self.error(f"no such flag {name}{nearest(name, list(self._option_string_actions))}")
        return arguments


def nearest(word: str, known: Sequence[str]) -> str:
    """'; did you mean ...?' when one of the known words is close, else nothing."""
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


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
