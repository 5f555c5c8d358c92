"""Where branches leave, and how a tree of them is laid out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aphrodite_engine.visible import visible


@dataclass(frozen=True)
class Fork:
    """Where a branch leaves another sequence, and what makes it another.

    Attributes:
        index: of the sequence it leaves, among those of its generation.
        at: the position of the first token that it does not share.
        label: the token that stands there instead, or the seed, or the fields that were changed.
        seed: where another was given.
    """

    index: int
    at: int
    label: str
    seed: int | None = None


def label(token: str | None, seed: int | None, fields: dict[str, Any]) -> str:
    """What makes a branch another, in a few letters."""
    parts = [] if token is None else [visible(token)]
    parts += [] if seed is None else [f"seed {seed}"]
    return ", ".join([*parts, *(f"{name}={value!r}" for name, value in fields.items())]) or "the same again"


@dataclass(frozen=True)
class Row:
    """One sequence of a tree that is drawn line by line.

    Attributes:
        place: of the sequence: 0 is the root, n the n-th branch.
        level: 0 of the root.
        up: rows between it and the one that it leaves.
    """

    place: int
    level: int
    up: int


def rows(forks: Sequence[tuple[int, int]]) -> list[Row]:
    """The root and its branches in an order in which no line crosses another: what leaves last comes first.

    Args:
        forks: of each branch, the place of what it leaves (0 is the root), and the position.
    """
    found: list[Row] = []

    def add(place: int, level: int, parent: int) -> None:
        row = len(found)
        found.append(Row(place, level, row - parent))
        leaving = [(at, branch) for branch, (of, at) in enumerate(forks, start=1) if of == place]
        for _, branch in sorted(leaving, key=lambda one: (-one[0], one[1])):
            add(branch, level + 1, row)

    add(0, 0, 0)
    return found
