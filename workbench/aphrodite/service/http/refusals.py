"""What a connection is told that is not let through to the application."""

from __future__ import annotations

import secrets

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from aphrodite.service.errors import ApiError, unavailable
from aphrodite.service.http import wire
from aphrodite.service.http.replies import error_reply
from aphrodite.service.settings import EdgeSettings


def headers_too_large(bounds: EdgeSettings) -> ApiError:
    """431: in bytes or in number."""
    return ApiError(
        431,
        f"headers may have {bounds.max_header_bytes:,} bytes and be {bounds.max_headers} in number",
        code="headers_too_large",
    )


def too_slow(part: str) -> ApiError:
    """408: this part of the request."""
    return ApiError(408, f"the {part} of the request did not come in time", code="request_timeout")


async def too_many_connections(scope: Scope, receive: Receive, send: Send) -> None:
    """503, in place of the application."""
    error = unavailable("too many connections are open", "too_many_connections", 5)
    error.headers["connection"] = "close"
    await error_reply(error)(scope, receive, send)


def as_bytes(error: ApiError) -> bytes:
    """An answer outside of any application."""
    body = wire.encode(error.body)
    headers = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        "connection": "close",
        "x-request-id": "req_" + secrets.token_hex(12),
        **error.headers,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return STATUS_LINE[error.status] + lines.encode("latin-1") + b"\r\n" + body
