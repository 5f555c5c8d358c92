"""What the engine process has to say, sent by a thread so that nobody who has news ever waits."""

from __future__ import annotations

import logging
import os
import queue
import socket
import threading

from aphrodite.service.engines import boundary
from aphrodite.service.engines.boundary import FromEngine, Token

logger = logging.getLogger("aphrodite.worker")

#: Tokens in one frame: news that piled up during one send go out together, but never near the limit of a frame.
_MAX_TOKENS_TOGETHER = 1024


class Outbox:
    """Messages on their way to the service, in the order they were put."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._waiting: queue.SimpleQueue[bytes | Token | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="aphrodite-outbox", daemon=True)
        self._thread.start()

    def put(self, message: FromEngine | Token) -> None:
        """Queue a message; never blocks.

        Raises:
            ValueError: it is too large for a frame.
        """
        self._waiting.put(message if isinstance(message, Token) else boundary.frame(message))

    def close(self) -> None:
        """Send what is queued and end."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            while frames := self._gathered():
                self._connection.sendall(frames)
        except OSError:  # the service is gone: the thread that reads sees it too, and ends the process
            return
        except Exception:  # the thread's outermost frame: a process that cannot answer must not look alive
            logger.exception("the engine process cannot send its answers and ends")
            os._exit(1)

    def _gathered(self) -> bytes:
        """Frames of everything that waits, tokens together; empty at the end."""
        frames: list[bytes] = []
        tokens: list[Token] = []
        item = self._waiting.get()
        while item is not None:
            if isinstance(item, Token):
                tokens.append(item)
            if tokens and (not isinstance(item, Token) or len(tokens) == _MAX_TOKENS_TOGETHER):
                frames.append(boundary.frame(boundary.Tokens(tokens)))
                tokens = []
            if not isinstance(item, Token):
                frames.append(item)
            try:
                item = self._waiting.get_nowait()
            except queue.Empty:
                break
        if item is None and (tokens or frames):
            self._waiting.put(None)  # the end, again, after what is still to be sent
        if tokens:
            frames.append(boundary.frame(boundary.Tokens(tokens)))
        return b"".join(frames)
