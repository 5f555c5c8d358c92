"""A server on loopback that says, connection by connection and byte by byte, what a test has written down."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

#: What a connection sends: bytes go out, a number is a pause in seconds, None waits for the client to hang up.
Step = bytes | float | None


@dataclass
class Scripted:
    """What came in.

    Attributes:
        requests: of each connection, what was read before the first answer.
        hung_up: set once a client has closed a connection that still waited.
    """

    url: str
    requests: list[bytes] = field(default_factory=list)
    hung_up: threading.Event = field(default_factory=threading.Event)

    def header(self, number: int, name: str) -> str | None:
        """Of a request's headers, one."""
        for line in self.requests[number].decode("latin-1").split("\r\n\r\n")[0].split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.lower() == name:
                return value.strip()
        return None


def answer(body: bytes, status: str = "200 OK", kind: str = "application/json", **headers: str) -> bytes:
    """A whole answer, after which the connection closes."""
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = (
        f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n{more}\r\n"
    )
    return head.encode() + body


def error(status: str, message: str = "no", code: str = "a_code", **headers: str) -> bytes:
    """An answer with the error object."""
    body = f'{{"error":{{"message":"{message}","type":"t","param":null,"code":"{code}"}}}}'
    return answer(body.encode(), status, **headers)


#: The start of an event stream that lasts until the connection closes.
EVENTS = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\nx-request-id: req_1\r\n\r\n"


@contextlib.contextmanager
def scripted(*connections: Sequence[Step]) -> Iterator[Scripted]:
    """Serve the connections in turn."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Scripted(f"http://127.0.0.1:{listener.getsockname()[1]}")
        thread = threading.Thread(target=_serve, args=(listener, connections, server), daemon=True)
        thread.start()
        yield server
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def _serve(listener: socket.socket, connections: Sequence[Sequence[Step]], server: Scripted) -> None:
    for steps in connections:
        try:
            connection, _ = listener.accept()
        except OSError:  # the test is over
            return
        with connection, contextlib.suppress(ConnectionError):
            connection.settimeout(20)
            server.requests.append(_request(connection))
            _play(connection, steps, server)


def _request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    while lengths and len(body) < int(lengths[0]):
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def _play(connection: socket.socket, steps: Sequence[Step], server: Scripted) -> None:
    for step in steps:
        if step is None:
            if not connection.recv(1):
                server.hung_up.set()
        elif isinstance(step, bytes):
            connection.sendall(step)
        else:
            time.sleep(step)
