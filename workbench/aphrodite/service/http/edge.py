"""What the connections of one service share: how many there may be, and a watch over those that take too long."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

from aphrodite.service import open_files
from aphrodite.service.settings import EdgeSettings

_SWEEP_SECONDS = 0.5
#: Open files that are not connections: engine processes, stores, logs, the event loop's own.
_SPARE_FILES = 24
#: Connections over the bound that are told so; still further ones are closed without a word.
_TOLD = 8
_FEWEST = 4


class Watched(Protocol):
    """A connection."""

    def check(self, now: float) -> None:
        """End it if it takes too long."""
        ...


class Edge:
    """The connections of one service.

    Attributes:
        most: connections that are served at once.
        most_told: with those that are told that there are too many.
    """

    def __init__(self, settings: EdgeSettings) -> None:
        open_files.allow_many()
        self.settings = settings
        self.most = max(_FEWEST, min(settings.max_connections, open_files.left() - _SPARE_FILES - _TOLD))
        self.most_told = self.most + _TOLD
        self.connections: set[Watched] = set()

    async def watch(self) -> None:
        """End connections that take too long, until it is cancelled."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            now = time.monotonic()
            for connection in list(self.connections):
                connection.check(now)
