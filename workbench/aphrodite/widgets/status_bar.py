"""A line that says, once a second, what the service is doing: tokens a second, queue, memory."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from traitlets import Dict

from aphrodite.client import Client, ClientClosed, ClientError
from aphrodite.display.load import Load, Status, load_of
from aphrodite.widgets.static import WithStaticForm

#: Readings that the sparkline shows.
_KEPT = 60


class StatusBar(WithStaticForm):
    """Live until `close()`, until its client is closed, or until the kernel ends.

    Args:
        client: of the service; the status is for those with an admin key.
        interval: seconds between two looks.

    Attributes:
        reading: the last look: url, problem, models, and the tokens a second of the last minute.

    Raises:
        ClientError: the first look failed.
    """

    _esm = Path(__file__).with_name("status_bar.js")

    reading = Dict().tag(sync=True)

    def __init__(self, client: Client, interval: float = 1.0) -> None:
        self._closed = threading.Event()
        self._client, self._interval = client, interval
        self._rates: deque[float] = deque(maxlen=_KEPT)
        self._looked, self._status = time.monotonic(), client.status()
        self._load = load_of(self._status, self._status, 0)
        super().__init__(reading=self._reading())
        # A daemon: it must not keep a kernel alive that is told to end.
        self._thread = threading.Thread(target=self._watch, name="aphrodite-status-bar", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop looking, and take the line away. May be called twice."""
        self._closed.set()
        super().close()

    def static_form(self) -> Mapping[str, str]:
        return self._load.bundle()

    def _watch(self) -> None:
        while not self._closed.wait(self._interval):
            try:
                self._look(self._client.status())
                problem = ""
            except ClientClosed:
                self._show("this notebook is not connected to it any more")
                return
            except ClientError as error:
                problem = str(error)
            self._show(problem)

    def _look(self, status: Status) -> None:
        now = time.monotonic()
        self._load: Load = load_of(status, self._status, now - self._looked)
        self._status, self._looked = status, now
        self._rates.append(self._load.output_tok_s)

    def _show(self, problem: str) -> None:
        if not self._closed.is_set():
            self.reading = self._reading(problem)

    def _reading(self, problem: str = "") -> dict[str, Any]:
        models = [asdict(model) for model in self._load.models]
        return {"url": self._client.url, "problem": problem, "models": models, "rates": [*self._rates]}
