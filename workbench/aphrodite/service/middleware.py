"""What happens to every request, as pure ASGI: an id, times, a count, and a line in the log."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Collection

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aphrodite.service import logs
from aphrodite.service.metrics import OTHER, Metrics

logger = logging.getLogger("aphrodite.http")

_MAX_ID = 128
_LONGEST_PATH = 200
#: Asked for every few seconds by machines: their lines would hide the others.
_QUIET = frozenset(("/health", "/metrics", "/admin/status"))


class RequestId:
    """Gives every request an id (the caller's own if it is short and printable) and says it in answer and log."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        request_id = scope["request_id"] = _callers_id(scope) or "req_" + secrets.token_hex(12)
        header = (b"x-request-id", request_id.encode("latin-1"))

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], header]
            await send(message)

        with logs.request(request_id):
            await self.app(scope, receive, send_with_id)


def _callers_id(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            text = value.decode("latin-1")
            if 0 < len(text) <= _MAX_ID and text.isascii() and text.isprintable():
                return text
    return None


class Timing:
    """Says how long the answer took to its headers; counts and logs how long it took to its last byte.

    Args:
        paths: templates of the routes: what a request is counted under.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: Collection[str]) -> None:
        self.app, self._metrics = app, metrics
        self._paths = frozenset(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started, status = time.perf_counter(), 0

        async def send_with_times(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                seconds = time.perf_counter() - started
                status = message["status"]
                message["headers"] = [
                    *message["headers"],
                    (b"openai-processing-ms", b"%d" % (seconds * 1000)),
                    (b"x-process-time", b"%.6f" % seconds),
                ]
            await send(message)

        try:
            await self.app(scope, receive, send_with_times)
        finally:
            seconds = time.perf_counter() - started
            self._metrics.answered(scope["method"], self._route(scope), status, seconds)
            _log(scope, status, seconds)

    def _route(self, scope: Scope) -> str:
        """The route's template; a request that was refused before it was routed has it where it is the path itself."""
        template = getattr(scope.get("endpoint"), "path", scope["path"])
        return template if template in self._paths else OTHER


def _log(scope: Scope, status: int, seconds: float) -> None:
    level = logging.DEBUG if scope["path"] in _QUIET else logging.INFO
    if logger.isEnabledFor(level):
        user = scope.get("user")
        fields = {"status": status, "key": user.name if user else None, "ms": round(seconds * 1000, 3)}
        path = scope["path"][:_LONGEST_PATH]
        logger.log(level, "%s %s %s", scope["method"], path, status or "gone", extra={"fields": fields})
