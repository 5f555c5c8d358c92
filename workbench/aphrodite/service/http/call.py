"""One HTTP request on its way through a route."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from starlette.datastructures import Headers, QueryParams
from starlette.types import Receive, Scope

from aphrodite.service.access import User
from aphrodite.service.errors import ApiError
from aphrodite.service.http import wire
from aphrodite.service.http.replies import cancel_when_gone
from aphrodite.service.service import Service

T = TypeVar("T")


class ClientGone(Exception):
    """The client closed the connection: nobody is left to answer."""


@dataclass
class Call:
    """What a route's handler is given.

    Attributes:
        request_id: the caller's or ours; in every log line and in the answer's headers.
        answer_headers: added to the answer.
        is_inside: its work was let in and counts against the caller's limits.
    """

    service: Service
    scope: Scope
    receive: Receive
    user: User
    request_id: str
    answer_headers: dict[str, str] = field(default_factory=dict)
    is_inside: bool = False

    @property
    def headers(self) -> Headers:
        return Headers(scope=self.scope)

    @property
    def query(self) -> QueryParams:
        return QueryParams(self.scope["query_string"])

    def path(self, name: str) -> str:
        """A parameter of the route's path."""
        return self.scope["path_params"][name]

    async def json(self, kind: type[T]) -> T:
        """The body as a checked structure; fields nobody knows are named in a header of the answer.

        Raises:
            ApiError: 400, 413 or 415.
        """
        content_type = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type != "application/json" and not content_type.endswith("+json"):
            raise ApiError(
                415,
                f"content-type {content_type[:80]!r} is not supported: application/json",
                code="unsupported_media_type",
            )
        value, ignored = wire.decode(await self.body(), kind)
        if ignored:
            names = ",".join(name for name in ignored if name.isascii() and name.isidentifier())
            self.answer_headers["x-ignored-params"] = names[:512]
        return value

    async def body(self, limit: int | None = None) -> bytes:
        """All of the body.

        Raises:
            ApiError: 413 as soon as more than the limit has come.
            ClientGone: the client left before it had sent everything.
        """
        limit = self.service.settings.max_body_bytes if limit is None else limit
        announced = self.headers.get("content-length", "0")
        if announced.isdigit() and int(announced) > limit:
            raise _too_large(limit)
        parts, size = [], 0
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            part = message.get("body", b"")
            size += len(part)
            if size > limit:
                raise _too_large(limit)
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)

    async def until_gone(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, which is cancelled when the client goes away. The body must have been read.

        Raises:
            ClientGone: it went away.
        """
        working = asyncio.current_task()
        assert working is not None
        watch = asyncio.create_task(cancel_when_gone(self.receive, working))
        try:
            return await work
        except asyncio.CancelledError:
            if not watch.done():  # not the client: the server ends
                raise
            working.uncancel()
            raise ClientGone from None
        finally:
            watch.cancel()


def _too_large(limit: int) -> ApiError:
    return ApiError(413, f"the body is over {limit:,} bytes", code="request_too_large", headers={"connection": "close"})
