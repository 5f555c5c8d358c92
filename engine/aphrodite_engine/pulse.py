"""How long a thread has been at one piece of work, as other threads see it: a thread that hangs can't say so itself."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator


class Pulse:
    """Of a thread that computes: an engine's, or an encoder's."""

    def __init__(self) -> None:
        self._work: tuple[float, int] | None = None  # one attribute, so that no reader sees half of a change

    @contextlib.contextmanager
    def during(self, tokens: int) -> Iterator[None]:
        """A piece of work on so many tokens."""
        self._work = (time.monotonic(), tokens)
        try:
            yield
        finally:
            self._work = None

    def read(self) -> tuple[float, int]:
        """Seconds since the piece of work in progress began, and its tokens; zeros between two."""
        work = self._work
        return (0.0, 0) if work is None else (time.monotonic() - work[0], work[1])
