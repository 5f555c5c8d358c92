"""What happens to every request, as pure ASGI: an id, times, a count, and a line in the log."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Collection, Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aphrodite.service.telemetry import logs
from aphrodite.service.telemetry.metrics import OTHER, Metrics
from aphrodite.service.telemetry.request_log import RequestLog

_MAX_ID = 128


class Bookkeeping:
    """Gives every request an id (the caller's own if it is short and printable); says it, and how long the answer took
    to its headers, in the answer; counts and logs how long it took to its last byte.

    Args:
        paths: templates of the routes: what a request is counted under.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, log: RequestLog, paths: Collection[str]) -> None:
        self._app, self._metrics, self._log = app, metrics, log
        self._paths = frozenset(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        started, status = time.perf_counter(), 0
        request_id = scope["request_id"] = _callers_id(scope["headers"]) or f"req_{random.getrandbits(96):024x}"

        def send_with_headers(message: Message) -> Awaitable[None]:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *_headers(request_id, time.perf_counter() - started)]
            return send(message)

        logs.belongs_to(request_id)  # this task is the request's own
        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            seconds = time.perf_counter() - started
            self._metrics.answered(scope["method"], self._route(scope), status, seconds)
            self._log.answered(scope, status, seconds)

    def _route(self, scope: Scope) -> str:
        """The route's template; a request that was refused before it was routed has it where it is the path itself."""
        template = getattr(scope.get("endpoint"), "path", scope["path"])
        return template if template in self._paths else OTHER


def _callers_id(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    for name, value in headers:
        if name == b"x-request-id":
            text = value.decode("latin-1")
            if 0 < len(text) <= _MAX_ID and text.isascii() and text.isprintable():
                return text
    return None


def _headers(request_id: str, seconds: float) -> tuple[tuple[bytes, bytes], ...]:
    return (
        (b"x-request-id", request_id.encode("ascii")),
        (b"openai-processing-ms", b"%d" % (seconds * 1000)),
        (b"x-process-time", b"%.6f" % seconds),
    )
