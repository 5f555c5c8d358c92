"""When a request is sent again, and after how long."""

from __future__ import annotations

import random
from dataclasses import dataclass

from aphrodite.client.errors import ClientError, ConnectionFailed, StatusError

_STATUSES = frozenset((408, 429, 500, 502, 503, 504))
#: 503 for as long as nobody wakes or replaces the model.
_LASTING = frozenset(("model_asleep", "model_failed"))
_LONGEST_BACKOFF = 8.0


@dataclass(frozen=True)
class Retries:
    """Only what failed before the first byte of an answer is tried again.

    Attributes:
        attempts: further tries; 0 is none.
        longest_wait: seconds; where the service asks to wait longer, its error is raised instead.
        backoff: seconds before the first further try; doubled each time, with jitter.
    """

    attempts: int = 2
    longest_wait: float = 30.0
    backoff: float = 0.5

    def wait(self, attempt: int, error: ClientError) -> float | None:
        """Seconds until the next try after `attempt` of them have failed (from 0); None: give up."""
        if attempt >= self.attempts or not _may_pass(error):
            return None
        asked = error.retry_after if isinstance(error, StatusError) else None
        if asked is not None:
            return asked if asked <= self.longest_wait else None
        # Jitter, so that many clients that failed together do not come back together.
        return min(self.backoff * 2**attempt, _LONGEST_BACKOFF) * random.uniform(0.5, 1.0)


def _may_pass(error: ClientError) -> bool:
    if isinstance(error, StatusError):
        return error.status in _STATUSES and error.code not in _LASTING
    return isinstance(error, ConnectionFailed)
