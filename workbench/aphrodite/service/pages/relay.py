"""A request passed on to the playground's process, and its answer passed back as it comes."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable
from pathlib import Path

from starlette.types import Receive, Scope, Send

from aphrodite.service.http.call import Call, ClientGone
from aphrodite.service.http.replies import Reply
from aphrodite.service.pages.wire import Answer, Header, RelayError, pieces

logger = logging.getLogger("aphrodite.playground")

#: Of one connection, not of the message; and what the service itself says about every answer.
_HOP_BY_HOP = frozenset(
    (b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te",
     b"trailer", b"transfer-encoding", b"upgrade", b"http2-settings")
)  # fmt: skip
#: What says who calls stays here: the playground gets a token in its place.
_SECRETS = frozenset((b"authorization", b"x-api-key", b"cookie"))
_NOT_PASSED_BACK = frozenset((b"set-cookie", b"date", b"server"))
_OURS = frozenset((b"host", b"content-length", b"expect", b"x-request-id"))


class Relayed:
    """The answer of the playground's process.

    Args:
        target: path and query there.
        token: speaks for the caller.
        otherwise: the answer where the process is gone.
    """

    def __init__(self, call: Call, socket: Path, target: bytes, body: bytes, token: str, otherwise: Reply) -> None:
        self.headers: dict[str, str] = {}
        self._call, self._socket, self._otherwise = call, socket, otherwise
        self._request = _request(call.scope, target, body, token)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with contextlib.suppress(ClientGone):
            await self._call.until_gone(self._pass_on(scope, receive, send))

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = Answer(scope["method"])
        try:
            await self._send_all(answer, send)
        except RelayError as error:
            if not answer.is_passed_on:
                return await self._otherwise(scope, receive, send)
            logger.info("an answer ended early: %s", error)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_all(self, answer: Answer, send: Send) -> None:
        async with contextlib.aclosing(pieces(self._socket, self._request, answer)) as bodies:
            async for body in bodies:
                if not answer.is_passed_on:
                    headers = _kept(answer.headers, _HOP_BY_HOP | _NOT_PASSED_BACK)
                    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
                    answer.is_passed_on = True
                await send({"type": "http.response.body", "body": body, "more_body": True})


def _request(scope: Scope, target: bytes, body: bytes, token: str) -> bytes:
    named = {name.strip().lower() for key, value in scope["headers"] if key == b"connection"
             for name in value.split(b",")}  # fmt: skip
    headers = _kept(scope["headers"], _HOP_BY_HOP | _SECRETS | _OURS | named)
    headers += [
        (b"host", b"playground"), (b"connection", b"close"), (b"authorization", b"Bearer " + token.encode()),
        *([(b"content-length", b"%d" % len(body))] if body else []),
    ]  # fmt: skip
    lines = [scope["method"].encode() + b" " + target + b" HTTP/1.1", *(n + b": " + v for n, v in headers)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def _kept(headers: Iterable[Header], without: Iterable[bytes]) -> list[Header]:
    left_out = frozenset(without)
    return [(name, value) for name, value in headers if name not in left_out]
