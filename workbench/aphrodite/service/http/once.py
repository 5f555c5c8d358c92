"""A call whose `Idempotency-Key` came before gets the answer from then."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.types import Message, Receive

from aphrodite.service.errors import bad_request
from aphrodite.service.http.call import Call

MAX_KEY = 255


async def once(call: Call, handle: Callable[[Call], Awaitable[Any]]) -> Any:
    """The handler's answer, or the one that the same request got before; one that still runs is waited for.

    Raises:
        ApiError: 400 for a key that is none, 422 for one that came with another body.
    """
    key = call.headers.get("idempotency-key")
    if key is None:
        return await handle(call)
    if not (0 < len(key) <= MAX_KEY and key.isascii() and key.isprintable()):
        raise bad_request(f"the Idempotency-Key header takes 1 to {MAX_KEY} printable ASCII characters", code="bad_key")
    repeats, name, body = call.service.repeats, (call.user.tenant, call.scope["path"], key), await call.body()
    digest = hashlib.blake2b(body, digest_size=16).digest()
    while (entry := repeats.find(name, digest)) is not None:
        await call.until_gone(entry.ended.wait())
        if (reply := entry.repeated) is not None:
            return reply
        # It failed, was a stream, or its caller left: this one does the work.
    repeats.begin(name, digest)
    reply = None
    try:
        call.receive = _again(body, call.receive)
        reply = await handle(call)
        return reply
    finally:
        repeats.end(name, reply)


def _again(body: bytes, receive: Receive) -> Receive:
    """The body that was already read, then what comes after it."""
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def read() -> Message:
        return first.pop() if first else await receive()

    return read
