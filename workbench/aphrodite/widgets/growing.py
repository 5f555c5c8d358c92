"""Branches that a widget was asked for: each runs beside the kernel, and is shown when it is there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aphrodite.display.forks import label
from aphrodite.display.generation import Generation
from aphrodite_engine.errors import AphroditeError

_SEEDS = 2**63


@dataclass
class Branch:
    """One branch of a widget.

    Attributes:
        of: the sequence it leaves: 0 is the widget's own, n the n-th branch.
        at: the position of the first token that is not kept.
        label: the token that is there instead, or the seed of another draw.
        generation: None while it is being written, and where it could not be.
        problem: why it could not be.
    """

    of: int
    at: int
    label: str
    generation: Generation | None = None
    problem: str = ""


class Growing:
    """The branches of one sequence, and of its branches.

    Args:
        root: what they grow from; `index` says from which of its sequences.
        known: branches that are there already.
        changed: called, from whichever thread, when there is something new to show.
    """

    def __init__(self, root: Generation, index: int, changed: Callable[[], None], known: Sequence[Branch] = ()) -> None:
        self._root, self._index, self._changed = root, index, changed
        self.branches: list[Branch] = list(known)
        self._threads: list[threading.Thread] = []

    @property
    def generations(self) -> list[Generation]:
        """Of the branches that are there, in the order they were asked for."""
        return [branch.generation for branch in self.branches if branch.generation is not None]

    def ask(self, of: int, at: int, token_id: int | None) -> None:
        """Write on from before token `at` of a sequence, with another token or, for None, another draw."""
        parent = self._root if of == 0 else self.branches[of - 1].generation
        if parent is None:
            return  # a branch that is not whole shows no tokens to click
        index = self._index if of == 0 else 0
        # Another draw needs another seed, and the next time the same one.
        seed = (parent.seed + len(self.branches) + 1) % _SEEDS if token_id is None else None
        token = None if token_id is None else _text(parent, index, at, token_id)
        branch = Branch(of, at, label(token, seed, {}))
        self.branches.append(branch)
        self._changed()
        # A daemon: it must not keep a kernel alive that is told to end.
        thread = threading.Thread(target=self._grow, args=(branch, parent, index, token_id, seed), daemon=True)
        self._threads.append(thread)
        thread.start()

    def wait(self, seconds: float = 60.0) -> None:
        """Until all that was asked for is there."""
        for thread in list(self._threads):
            thread.join(seconds)

    def _grow(self, branch: Branch, parent: Generation, index: int, token_id: int | None, seed: int | None) -> None:
        try:
            branch.generation = parent.branch(branch.at, token=token_id, seed=seed, index=index)
        except AphroditeError as error:
            branch.problem = " ".join(str(error).split())
        self._changed()


def _text(generation: Generation, index: int, at: int, token_id: int) -> str:
    alternatives = generation.result.outputs[index].tokens[at].alternatives
    return next((found.text for found in alternatives if found.token_id == token_id), f"#{token_id}")
