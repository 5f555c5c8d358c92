"""The engine for one caller alone, for a while: benchmarks are only true when nobody else computes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable

import msgspec

from aphrodite.service.access.limits import too_many
from aphrodite.service.access.user import User


class LeaseReport(msgspec.Struct):
    """What happened during a lease.

    Attributes:
        holder: whose requests were taken.
        seconds_left: 0 once it has ended.
        own_tokens: of the holder, prompts and answers.
        foreign_tokens: of others: what ran when the lease began and was not done.
    """

    holder: str
    reason: str
    started: float
    seconds_left: float
    own_tokens: int
    foreign_tokens: dict[str, int]


class Lease:
    """The engine belongs to `holder` for so many seconds."""

    def __init__(self, holder: User, seconds: float, reason: str, users: Iterable[User]) -> None:
        self.holder, self.reason = holder, reason
        self._ends = time.monotonic() + seconds
        self._started = time.time()
        self._before = [(user, user.meter.usage.tokens) for user in users]

    @property
    def seconds_left(self) -> float:
        return max(0.0, self._ends - time.monotonic())

    def check(self, user: User) -> None:
        """Raises ApiError 429 while the engine is somebody else's."""
        if user.name != self.holder.name and (left := self.seconds_left):
            raise too_many(f"{self.holder.name} has the engine alone ({self.reason})", left, "leased")

    def report(self, users: Iterable[User]) -> LeaseReport:
        """Up to now."""
        before = {user.meter: tokens for user, tokens in self._before}
        everybody = {user.meter: user for user in (*(user for user, _ in self._before), *users)}
        used: Counter[str] = Counter()
        for meter, user in everybody.items():
            used[user.name] += meter.usage.tokens - before.get(meter, 0)
        own = used.pop(self.holder.name, 0)
        foreign = {name: tokens for name, tokens in used.items() if tokens}
        return LeaseReport(self.holder.name, self.reason, self._started, round(self.seconds_left, 3), own, foreign)
