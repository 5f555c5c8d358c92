"""What happens to every request, as pure ASGI: an id, times, and a line in the log."""

from __future__ import annotations

import logging
import secrets
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("aphrodite.access")

_MAX_ID = 128


class RequestId:
    """Gives every request an id (the caller's own if it is short and printable) and says it in the answer."""

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

        await self.app(scope, receive, send_with_id)


def _callers_id(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            text = value.decode("latin-1")
            if 0 < len(text) <= _MAX_ID and text.isascii() and text.isprintable():
                return text
    return None


class Timing:
    """Says how long the answer took to its headers, and logs how long it took to its last byte."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

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
            if logger.isEnabledFor(logging.INFO):
                _log(scope, status, time.perf_counter() - started)


def _log(scope: Scope, status: int, seconds: float) -> None:
    user: Any = scope.get("user")
    logger.info(
        "%s %s %s", scope["method"], ascii(scope["path"])[1:-1][:200], status or "gone",
        extra={"fields": {
            "request_id": scope.get("request_id"), "user": user.name if user else None, "status": status,
            "ms": round(seconds * 1000, 3),
        }},
    )  # fmt: skip
