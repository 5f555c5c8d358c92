"""How much a caller may ask for, and how much it has asked for."""

from __future__ import annotations

import math
import time
from typing import Annotated

import msgspec

from aphrodite.service.errors import ApiError

MAX_LIMIT = 10**9
_AtLeastOne = Annotated[int, msgspec.Meta(ge=1, le=MAX_LIMIT)]


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one key may ask for; None is "as much as there is".

    Attributes:
        requests_per_minute: a minute's worth may come at once, then they refill evenly.
        tokens_per_minute: of prompts and answers. A request may overdraw it; the next one waits until that is made up.
        concurrent: requests in flight at once.
    """

    requests_per_minute: _AtLeastOne | None = None
    tokens_per_minute: _AtLeastOne | None = None
    concurrent: _AtLeastOne | None = None


class Usage(msgspec.Struct):
    """What was asked for."""

    requests: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.output_tokens

    def since(self, before: Usage) -> Usage:
        """What came after `before`."""
        return Usage(
            self.requests - before.requests,
            self.prompt_tokens - before.prompt_tokens,
            self.output_tokens - before.output_tokens,
        )


class Bucket:
    """Holds a minute's worth and refills evenly."""

    def __init__(self, per_minute: int) -> None:
        self._capacity = float(per_minute)
        self._per_second = per_minute / 60
        self._level = self._capacity
        self._filled = time.monotonic()

    def wait(self) -> float:
        """Seconds until one is there; 0 where it is."""
        self._refill()
        return max(0.0, (1 - self._level) / self._per_second)

    def take(self, count: int) -> None:
        """Take what has been used, even where it is not there."""
        self._refill()
        self._level -= count

    def _refill(self) -> None:
        now = time.monotonic()
        self._level = min(self._capacity, self._level + (now - self._filled) * self._per_second)
        self._filled = now


class Meter:
    """What one caller uses, held against its limits.

    Attributes:
        usage: since the service started.
        revoked: the key is no longer good: what runs on it ends.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.usage = Usage()
        self.in_flight = 0
        self.revoked = False
        self._requests = Bucket(self.limits.requests_per_minute) if self.limits.requests_per_minute else None
        self._tokens = Bucket(self.limits.tokens_per_minute) if self.limits.tokens_per_minute else None

    def enter(self) -> None:
        """Count a request in.

        Raises:
            ApiError: 429, with the reason and when to come back.
        """
        limits = self.limits
        if limits.concurrent is not None and self.in_flight >= limits.concurrent:
            raise too_many(f"this key may have {limits.concurrent} requests in flight at once, and it has", 1)
        if self._requests is not None and (wait := self._requests.wait()):
            raise too_many(f"this key may send {limits.requests_per_minute} requests a minute", wait)
        if self._tokens is not None and (wait := self._tokens.wait()):
            raise too_many(f"this key may use {limits.tokens_per_minute} tokens a minute", wait)
        if self._requests is not None:
            self._requests.take(1)
        self.in_flight += 1
        self.usage.requests += 1

    def leave(self) -> None:
        """The request has been answered."""
        self.in_flight -= 1

    def spent(self, prompt_tokens: int, output_tokens: int) -> None:
        """Count tokens as they are used."""
        self.usage.prompt_tokens += prompt_tokens
        self.usage.output_tokens += output_tokens
        if self._tokens is not None:
            self._tokens.take(prompt_tokens + output_tokens)


def too_many(reason: str, seconds: float, code: str = "rate_limit_exceeded") -> ApiError:
    """429: come back in so many seconds."""
    wait = max(1, math.ceil(seconds))
    return ApiError(429, f"{reason}; try again in {wait} s", code=code, headers={"retry-after": str(wait)})
