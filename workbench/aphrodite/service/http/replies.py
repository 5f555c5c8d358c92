"""Answers as ASGI applications: JSON, bytes, and streams of server-sent events."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from starlette.types import Receive, Scope, Send

from aphrodite.service.errors import ApiError
from aphrodite.service.http import wire

logger = logging.getLogger("aphrodite.http")

KEEP_ALIVE_SECONDS = 10.0
#: An extension of ASGI: `http.response.start` may have a `body`, which is then all of it.
WHOLE_ANSWER = "aphrodite.whole_answer"

Headers = Mapping[str, str]


def encoded_headers(headers: Headers) -> list[tuple[bytes, bytes]]:
    """As ASGI wants them."""
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


class Reply:
    """A whole answer."""

    def __init__(self, body: bytes, status: int = 200, content_type: str = "application/json") -> None:
        self.body, self.status = body, status
        self.headers: dict[str, str] = {"content-type": content_type, "content-length": str(len(body))}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": self.status, "headers": encoded_headers(self.headers)}
        body = b"" if scope["method"] == "HEAD" else self.body
        if WHOLE_ANSWER in scope.get("extensions", ()):
            return await send({**start, "body": body})
        await send(start)
        await send({"type": "http.response.body", "body": body})


def json_reply(value: Any, status: int = 200) -> Reply:
    """A structure as JSON."""
    return Reply(wire.encode(value), status)


def error_reply(error: ApiError) -> Reply:
    """An error as OpenAI's clients expect it."""
    reply = json_reply(error.body, error.status)
    reply.headers.update(error.headers)
    if error.status == 401:
        reply.headers["www-authenticate"] = "Bearer"
    return reply


class EventStream:
    """Server-sent events.

    A client that goes away closes the generator, whose `finally` aborts the request. An error in the generator is one
    more event, and the end.

    Args:
        events: whole events as bytes (`data: ...`, blank line), several at once where several are ready.
        describe_error: an error as an event of this protocol.
    """

    def __init__(self, events: AsyncGenerator[bytes], describe_error: Any = None) -> None:
        self._events = events
        self._describe_error = describe_error or data_event_of_error
        self.headers: dict[str, str] = {
            "content-type": "text/event-stream; charset=utf-8",
            "cache-control": "no-cache",
            "x-accel-buffering": "no",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": encoded_headers(self.headers)})
        sending = asyncio.current_task()
        assert sending is not None
        watch = asyncio.create_task(cancel_when_gone(receive, sending))
        idle = asyncio.create_task(_keep_alive(send))
        try:
            async with contextlib.aclosing(self._events):
                await self._send_all(send)
        except asyncio.CancelledError:
            if not watch.done():  # not the client: the server ends
                raise
            sending.uncancel()
        finally:
            watch.cancel()
            idle.cancel()

    async def _send_all(self, send: Send) -> None:
        try:
            async for event in self._events:
                await send({"type": "http.response.body", "body": event, "more_body": True})
        except ApiError as error:
            await send({"type": "http.response.body", "body": self._describe_error(error), "more_body": True})
        except Exception:
            logger.exception("a stream failed")
            error = ApiError(500, "the server failed; its log says more", code="internal_error")
            await send({"type": "http.response.body", "body": self._describe_error(error), "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


DONE = b"data: [DONE]\n\n"


def data_event(value: Any) -> bytes:
    """`data: {...}`."""
    return b"data: " + wire.encode(value) + b"\n\n"


def data_event_of_error(error: ApiError) -> bytes:
    """OpenAI's error object as an event."""
    return data_event(error.body)


def named_event(name: str, value: Any) -> bytes:
    """`event: name` and `data: {...}`."""
    return b"event: " + name.encode() + b"\ndata: " + wire.encode(value) + b"\n\n"


async def cancel_when_gone(receive: Receive, sending: asyncio.Task[Any]) -> None:
    """Wait until the client closes the connection, then end what works for it."""
    while (await receive())["type"] != "http.disconnect":
        pass
    sending.cancel()


async def _keep_alive(send: Send) -> None:
    """A comment now and then, so that nothing between us and the client thinks the connection is dead."""
    while True:
        await asyncio.sleep(KEEP_ALIVE_SECONDS)
        await send({"type": "http.response.body", "body": b": keep-alive\n\n", "more_body": True})
