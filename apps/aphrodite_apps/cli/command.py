"""What every sub-command is made of."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

from aphrodite.argument_parser import OneLineParser, nearest

__all__ = ["Command", "Parser", "UsageError", "nearest"]


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


class Parser(OneLineParser):
    """A sub-command's flags."""

    mistake = UsageError
