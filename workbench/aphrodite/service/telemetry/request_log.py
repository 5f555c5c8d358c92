"""A line in the log for every request.

Written without the detours of `logging`, which took longer than all the rest that is done around a request.
"""

from __future__ import annotations

import time

import msgspec
from starlette.types import Scope

from aphrodite.service.telemetry import logs

_LONGEST_PATH = 200
#: Asked for every few seconds by machines: their lines would hide the others.
_QUIET = frozenset(("/health", "/metrics", "/admin/status"))
_encoder = msgspec.json.Encoder()


class _Line(msgspec.Struct):
    """As logs.JsonLines writes it."""

    time: str
    level: str
    logger: str
    message: str
    request_id: str
    status: int
    key: str | None
    ms: float


class RequestLog:
    """Says of every request what became of it, and nothing of what was said in it."""

    def __init__(self, log: logs.BoundedLog) -> None:
        self._log = log

    def answered(self, scope: Scope, status: int, seconds: float) -> None:
        """A request has ended; its status is 0 where its caller had left."""
        path = scope["path"]
        if path in _QUIET:
            return
        user = scope.get("user")
        line = _Line(
            logs.time_of(time.time()),
            "info",
            "aphrodite.http",
            f"{scope['method']} {path[:_LONGEST_PATH]} {status or 'gone'}",
            scope["request_id"],
            status,
            user.name if user else None,
            round(seconds * 1000, 3),
        )
        self._log.put(logs.readable(_encoder.encode(line)))
