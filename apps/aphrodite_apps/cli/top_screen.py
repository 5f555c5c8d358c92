"""The terminal of `aphrodite top`: frames one after the other, and the keys that end them."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.live import Live

from aphrodite_apps.cli.service_client import AdminClient
from aphrodite_apps.cli.top_frame import History, frame

_FIRST_SECONDS = 0.5
_KEYS_THAT_END = b"qQ\x03\x04\x1b"

#: Waits so many seconds; True as soon as somebody wants to end.
Wait = Callable[[float], bool]


class Screen:
    """Asks the service and shows what it says.

    Attributes:
        is_live: there is a terminal that can be drawn over.
    """

    def __init__(self, client: AdminClient) -> None:
        self._client = client
        self._console = Console()
        self._history = History(client.connection.url)
        self.is_live = self._console.is_terminal and not self._console.is_dumb_terminal

    def show_once(self) -> None:
        """One frame, as text."""
        self._look()
        time.sleep(_FIRST_SECONDS)  # what is counted "a second" needs two looks
        self._look()
        self._console.print(frame(self._history, self._console.width))

    def watch(self, interval: float) -> None:
        """A frame every so many seconds, until q or Ctrl-C; the terminal is then as it was."""
        self._look()
        wait_for = _FIRST_SECONDS
        with contextlib.suppress(KeyboardInterrupt), _keyboard() as ended:
            with Live(console=self._console, screen=True, auto_refresh=False) as live:
                while not ended(wait_for):
                    self._look()
                    live.update(frame(self._history, self._console.width), refresh=True)
                    wait_for = interval

    def _look(self) -> None:
        self._history.add(time.monotonic(), self._client.get("/admin/status"))


@contextlib.contextmanager
def _keyboard() -> Iterator[Wait]:
    if not sys.stdin.isatty():
        yield _sleep
        return
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield _pressed
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def _pressed(seconds: float) -> bool:
    keyboard, deadline = sys.stdin.fileno(), time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if select.select([keyboard], [], [], left)[0]:
            typed = os.read(keyboard, 32)
            if not typed or (len(typed) == 1 and typed in _KEYS_THAT_END):  # arrows are an escape and more
                return True
    return False
