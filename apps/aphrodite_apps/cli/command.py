"""What every sub-command is made of, and a parser that answers mistakes in one line."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn


class UsageError(Exception):
    """A mistake of the person at the keyboard: one line, exit code 2, never a traceback."""


@dataclass(frozen=True)
class Command:
    """One sub-command: `add_arguments` fills its parser, `run` does the work and returns the exit code."""

    name: str
    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    usage: str = "[flags]"
    epilog: str = ""


class Parser(argparse.ArgumentParser):
    """argparse without its usage dump on errors, and with the nearest flag named when one is unknown."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")

    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        """Parse all of argv; what nobody knows is a UsageError."""
        arguments, unknown = self.parse_known_args(argv)
        if unknown:
            flag = next((word for word in unknown if word.startswith("-")), None)
            if flag is None:
                self.error(f"unexpected argument {unknown[0]!r}")
            name = flag.split("=", 1)[0]
            self.error(f"no such flag {name}{nearest(name, list(self._option_string_actions))}")
        return arguments


def nearest(word: str, known: Sequence[str]) -> str:
    """'; did you mean ...?' when one of the known words is close, else nothing."""
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""
