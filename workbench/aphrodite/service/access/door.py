"""Lets work in, or says when to come back: a lease, the queue, the caller's own limits."""

from __future__ import annotations

from aphrodite.service.access.accounts import Accounts
from aphrodite.service.access.lease import Lease, LeaseReport
from aphrodite.service.access.limits import too_many
from aphrodite.service.access.user import User


class Door:
    """Counts the work that is in.

    Args:
        most: requests at once, running or waiting, over all callers.
    """

    def __init__(self, accounts: Accounts, most: int) -> None:
        self._accounts, self._most = accounts, most
        self._inside = 0
        self._lease: Lease | None = None
        self._last_lease: LeaseReport | None = None

    def enter(self, user: User) -> None:
        """Take a request in; `leave` must follow.

        Raises:
            ApiError: 429.
        """
        self.check_lease(user)
        if self._inside >= self._most:
            raise too_many(f"the queue is full: {self._most} requests are being answered or wait", 1, "queue_full")
        user.meter.enter()
        self._inside += 1

    def leave(self, user: User) -> None:
        """A request has been answered."""
        user.meter.leave()
        self._inside -= 1

    def check_lease(self, user: User) -> None:
        """Raises ApiError 429 while the engine is somebody else's alone."""
        if self._lease is not None:
            self._lease.check(user)

    def lease(self, holder: User, seconds: float, reason: str) -> LeaseReport:
        """Give one caller the engine alone; a lease that the same caller holds begins anew.

        Raises:
            ApiError: 429, somebody else holds it.
        """
        self.check_lease(holder)
        self._lease = Lease(holder, seconds, reason, self._accounts.users())
        return self._lease.report(self._accounts.users())

    def lease_report(self) -> LeaseReport | None:
        """The lease that runs, or the last one that ended; None where there was none."""
        if self._lease is None:
            return self._last_lease
        return self._lease.report(self._accounts.users())

    def end_lease(self) -> LeaseReport | None:
        """Let everybody in again."""
        report = self.lease_report()
        if self._lease is not None and report is not None:
            report.seconds_left = 0.0
        self._lease, self._last_lease = None, report
        return report
