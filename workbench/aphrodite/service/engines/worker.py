"""The engine process: `python -m aphrodite.service.engines.worker SOCKET`. One model, one connection to the service.

This thread loads the model and waits for the end; another reads messages, a few admit requests, one sends. The engine's
own thread hands its events to the sender and never waits for any of them. When the service goes away, however it does
and whatever this process is doing, so does this process.
"""

from __future__ import annotations

import logging
import os
import queue
import socket
import sys
import threading
import time
from typing import Protocol

from aphrodite.service import garbage
from aphrodite.service.engines import boundary
from aphrodite.service.engines.lifeline import die_with_the_service
from aphrodite.service.engines.outbox import Outbox
from aphrodite.service.telemetry import logs

logger = logging.getLogger("aphrodite.worker")

_PROGRESS_SECONDS = 0.1


class Model(Protocol):
    """What this process hosts (hosted_model.py, which is imported late: it brings torch)."""

    facts: boundary.Facts

    def take(self, message: boundary.ToEngine) -> None: ...

    def stats(self) -> boundary.Stats: ...

    def close(self) -> None: ...


def main() -> None:
    """Serve the one connection until the other end closes it or says so."""
    die_with_the_service()
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(sys.argv[1])
    outbox = Outbox(connection)
    inbox = Inbox(connection, outbox)
    opening = inbox.opening()
    logs.configure_engine(opening.name)
    model = _load(opening, outbox)
    if model is not None:
        garbage.settle()
        inbox.deliver_to(model)
        outbox.put(boundary.Pong(0, model.stats()))  # what it has taken, before anybody plans beside it
        outbox.put(boundary.Ready(model.facts))
        inbox.closed.wait()
        # The engine's memory goes with the process; closing it first ends its thread between two steps, not in one.
        model.close()
    outbox.close()
    sys.stderr.flush()
    os._exit(0)  # thread pools and torch would take a while to leave, and have nothing more to say


def _load(opening: boundary.Open, outbox: Outbox) -> Model | None:
    """The model, or None after telling the service why not."""
    # Seconds of torch: by now this process is connected, and can no longer be left behind.
    from aphrodite.service.engines.hosted_model import HostedModel
    from aphrodite.service.engines.problems import problem_of

    try:
        return HostedModel(opening, outbox, _Progress(outbox))
    except Exception as error:  # outermost frame of loading: whatever a model folder does wrong is the answer
        problem = problem_of(error)
        if problem.kind == "internal":
            logger.exception("%s could not be loaded", opening.model)
        outbox.put(boundary.Refused(problem))
        return None


class _Progress:
    """Tells the service how far loading is, ten times a second."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox, self._last = outbox, 0.0

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._last >= _PROGRESS_SECONDS or done == total:
            self._last = now
            self._outbox.put(boundary.Progress(done, total))


class Inbox:
    """A thread that reads messages: it answers pings itself, and hands work to the model once there is one.

    Attributes:
        closed: set when the service has said Close.
    """

    def __init__(self, connection: socket.socket, outbox: Outbox) -> None:
        self._connection, self._outbox = connection, outbox
        self._model: Model | None = None
        self._opening: queue.SimpleQueue[boundary.Open] = queue.SimpleQueue()
        self.closed = threading.Event()
        threading.Thread(target=self._run, name="aphrodite-inbox", daemon=True).start()

    def opening(self) -> boundary.Open:
        """The first message: which model to load."""
        return self._opening.get()

    def deliver_to(self, model: Model) -> None:
        """From now on there is somebody to work."""
        self._model = model

    def _run(self) -> None:
        try:
            while (message := boundary.receive_from_service(self._connection)) is not None:
                self._take(message)
        except Exception:  # the thread's outermost frame: a process that hears nothing must not look alive
            logger.exception("the engine process cannot read what it is asked and ends")
            os._exit(1)
        if not self.closed.is_set():
            os._exit(0)  # the service is gone: nobody is left to answer

    def _take(self, message: boundary.ToEngine) -> None:
        if isinstance(message, boundary.Ping):
            stats = self._model.stats() if self._model else boundary.Stats()
            self._outbox.put(boundary.Pong(message.number, stats))
        elif isinstance(message, boundary.Open):
            self._opening.put(message)
        elif isinstance(message, boundary.Close):
            self.closed.set()
        elif self._model is not None:
            self._model.take(message)


if __name__ == "__main__":
    main()
