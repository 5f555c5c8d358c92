"""A client that says exactly the bytes it is told, for what no honest client sends."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from typing import Any, Self

from tests.service.running import Running

SECONDS = 20.0


@dataclass(frozen=True)
class Answer:
    """One answer off the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        """The error object, which every answer that is not a success must be."""
        error = json.loads(self.body)["error"]
        assert sorted(error) == ["code", "message", "param", "type"]
        return error


class Wire:
    """One connection: to a service, or to a port of this machine."""

    def __init__(self, service: Running | int, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(SECONDS)
        port = service if isinstance(service, int) else service.connection.port
        self.socket.connect(("127.0.0.1", port))
        self._read = b""

    def send(self, data: bytes) -> Self:
        self.socket.sendall(data)
        return self

    def answer(self) -> Answer | None:
        """The next answer; None where the connection was closed instead."""
        while b"\r\n\r\n" not in self._read:
            if not self._more():
                assert not self._read
                return None
        head, self._read = self._read.split(b"\r\n\r\n", 1)
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        length = int(headers.get("content-length", 0))
        while len(self._read) < length:
            assert self._more(), "the answer was cut off"
        body, self._read = self._read[:length], self._read[length:]
        return Answer(int(first.split()[1]), headers, body)

    def is_closed(self) -> bool:
        """Wait until the service closes; what it still says is thrown away."""
        while self._more():
            pass
        return True

    def _more(self) -> bool:
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            data = b""
        self._read += data
        return bool(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


def say(service: Running, data: bytes) -> Answer | None:
    """Send these bytes over a connection of their own; the first answer."""
    with Wire(service) as wire:
        return wire.send(data).answer()


def request(target: str = "/v1/models", *headers: str, method: str = "GET", host: str | None = "localhost") -> bytes:
    """A request without a body."""
    lines = [f"{method} {target} HTTP/1.1", *([f"Host: {host}"] if host is not None else []), *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def post(target: str, body: bytes, *headers: str, host: str = "localhost") -> bytes:
    """A request with a JSON body."""
    more = ("Content-Type: application/json", f"Content-Length: {len(body)}")
    return request(target, *headers, *more, method="POST", host=host) + body
