"""What a sub-command of `%aphrodite` is made of."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aphrodite.magics.notebook import Notebook


@dataclass(frozen=True)
class Command:
    """One sub-command: `run` does the work; what it returns is the magic's value."""

    name: str
    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[Notebook, argparse.Namespace], Any]


def no_arguments(parser: argparse.ArgumentParser) -> None:
    """For commands without flags."""
