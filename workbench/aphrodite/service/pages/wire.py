"""HTTP/1.1 over a Unix socket to the playground's process, one connection a request.

The other end is our own, and hanging up is how it learns that somebody has left. Not a client library: importing one
would hold up running streams at the first visit.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path

import httptools

Header = tuple[bytes, bytes]

_PIECE_BYTES = 64 * 1024


class RelayError(Exception):
    """The playground's process did not answer, or broke off."""


async def status_of(socket: Path, path: str) -> int:
    """The status that the process answers with to a plain request of our own.

    Raises:
        RelayError: it does not.
    """
    answer = Answer("HEAD")
    head = f"HEAD {path} HTTP/1.1\r\nhost: playground\r\nconnection: close\r\n\r\n".encode()
    async with contextlib.aclosing(pieces(socket, head, answer)) as found:
        async for _ in found:
            break
    return answer.status


class Answer:
    """An answer while it is parsed.

    Attributes:
        is_passed_on: its headers have gone to the caller.
    """

    def __init__(self, method: str) -> None:
        self.status = 0
        self.headers: list[Header] = []
        self.body: list[bytes] = []
        self.is_complete = self.is_passed_on = False
        self._has_no_body = method == "HEAD"
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """
        Raises:
            RelayError: it is not HTTP.
        """
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise RelayError(f"the playground does not speak HTTP: {error}") from error

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self.is_complete = self._has_no_body

    def on_body(self, body: bytes) -> None:
        self.body.append(body)

    def on_message_complete(self) -> None:
        self.is_complete = True


async def pieces(socket: Path, request: bytes, answer: Answer) -> AsyncGenerator[bytes]:
    """The answer's body as it comes; the first piece, which may be empty, comes with its headers.

    Raises:
        RelayError: the process is not there, or broke off.
    """
    try:
        reader, writer = await asyncio.open_unix_connection(socket, limit=_PIECE_BYTES)
    except OSError as error:
        raise RelayError(f"the playground is gone: {error}") from error
    try:
        writer.write(request)
        while not answer.is_complete:
            data = await _read(reader)
            answer.feed(data)
            if answer.status:
                body, answer.body = b"".join(answer.body), []
                yield body
    finally:
        writer.close()


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        data = await reader.read(_PIECE_BYTES)
    except OSError as error:
        raise RelayError(f"the playground broke off: {error}") from error
    if not data:
        raise RelayError("the playground broke off")
    return data
