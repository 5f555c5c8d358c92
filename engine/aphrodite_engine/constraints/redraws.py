"""Tokens of one sequence that were taken back: what must not come again where they were, until the text moves on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

#: Tokens that may be taken back in a row; then everything seems to lead to a phrase.
MAX_IN_A_ROW = 2048


class Redraws:
    """Bans and draws by position, the absolute place of a token in its sequence.

    Attributes:
        in_a_row: tokens taken back since the text last moved on.
    """

    def __init__(self) -> None:
        self._bans: dict[int, list[int]] = {}
        self._draws: Counter[int] = Counter()
        self.in_a_row = 0

    def bans(self, position: int) -> tuple[int, ...]:
        """Ids that were taken back there, behind the tokens that still stand."""
        return tuple(self._bans.get(position, ()))

    def draws(self, position: int) -> int:
        """How often a token was drawn there, behind the tokens that still stand: each draw takes numbers of its own."""
        return self._draws[position]

    def drawn(self, position: int) -> None:
        """Count a draw."""
        self._draws[position] += 1

    def take_back(self, position: int, taken: Sequence[int]) -> None:
        """Ban the first of the taken tokens there. Bans behind it spoke of what followed it.

        Draws behind it are forgotten too: they depend on the tokens before them alone, so that a sequence goes on from
        any of its beginnings as it did (Continuation).
        """
        self._bans = {place: ids for place, ids in self._bans.items() if place <= position}
        self._draws = Counter({place: count for place, count in self._draws.items() if place <= position})
        self._bans.setdefault(position, []).append(taken[0])
        self.in_a_row += len(taken)

    def move_on(self, position: int) -> None:
        """All before `position` stands for good."""
        self.in_a_row = 0
        self._bans = {place: ids for place, ids in self._bans.items() if place >= position}
        self._draws = Counter({place: count for place, count in self._draws.items() if place >= position})
