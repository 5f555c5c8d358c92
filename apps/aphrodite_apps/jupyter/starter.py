"""`aphrodite up`, for who has clicked on the tile where no service runs."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Failed:
    """A start that did not succeed, and the one line that says why."""

    reason: str


class Starter:
    """Starts the service of one port, once at a time."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._task: asyncio.Task[Failed | None] | None = None

    @property
    def is_busy(self) -> bool:
        return self._task is not None and not self._task.done()

    def start(self) -> Failed | None:
        """Begin, or say how the last try ended, once."""
        if self._task is not None and self._task.done():
            failed, self._task = self._task.result(), None
            if failed is not None:
                return failed
        if self._task is None:
            self._task = asyncio.create_task(asyncio.to_thread(_up, self.port))
        return None


def _up(port: int) -> Failed | None:
    """The command a person would type: it takes the lock, and leaves a service that outlives Jupyter."""
    command = [sys.executable, "-P", "-m", "aphrodite_apps.cli", "up", "--port", str(port)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    lines = done.stderr.splitlines() or [f"it ended with status {done.returncode}"]
    return Failed(lines[-1].removeprefix("error: "))
