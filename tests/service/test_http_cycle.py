"""Answers on their way out of the HTTP edge: framed as they should be, or not sent at all."""

from __future__ import annotations

import functools
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from aphrodite.service.http.edge import Edge
from aphrodite.service.http.protocol import EdgeProtocol
from aphrodite.service.http.replies import Reply
from aphrodite.service.settings import EdgeSettings

_TYPE = (b"content-type", b"text/plain")


async def answers(scope: Scope, receive: Receive, send: Send) -> None:
    """An application for which a path is a way to answer."""
    way = scope["path"][1:]
    if way == "whole":
        return await Reply(b"hello", content_type="text/plain")(scope, receive, send)
    headers: list[tuple[bytes, bytes]] = [_TYPE]
    if way == "split":
        headers.append((b"x-name", b"a\r\nset-cookie: b"))
    if way in ("short", "long", "apart"):
        headers.append((b"content-length", {"short": b"6", "long": b"4", "apart": b"5"}[way]))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"hel", "more_body": True})
    await send({"type": "http.response.body", "body": b"lo"})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    protocol = functools.partial(EdgeProtocol, Edge(EdgeSettings()))
    config = uvicorn.Config(
        answers, http=protocol, lifespan="off", log_config=None, server_header=False, date_header=False  # type: ignore[arg-type]
    )  # fmt: skip
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join(10)


def raw(port: int, path: str, method: str = "GET", version: str = "1.1") -> bytes:
    """Everything that comes until the connection is closed."""
    with socket.create_connection(("127.0.0.1", port), 5) as wire:
        wire.sendall(f"{method} {path} HTTP/{version}\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: wire.recv(65536), b""))


@pytest.mark.parametrize("path", ["/whole", "/apart"])
def test_an_answer_of_known_length_is_whole_in_one_piece_or_two(port: int, path: str) -> None:
    head, _, body = raw(port, path).partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"HTTP/1.1 200 OK", b"content-type: text/plain", b"content-length: 5", b"connection: close",
    ]  # fmt: skip
    assert body == b"hello"


def test_one_of_unknown_length_comes_in_chunks(port: int) -> None:
    head, _, body = raw(port, "/chunks").partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head and b"content-length" not in head
    assert body == b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"


@pytest.mark.parametrize("path", ["/whole", "/apart", "/chunks"])
def test_head_has_no_body(port: int, path: str) -> None:
    answer = raw(port, path, "HEAD")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n") and answer.endswith(b"\r\n\r\n")


def test_a_header_that_would_be_two_is_not_sent(port: int) -> None:
    assert b"set-cookie" not in raw(port, "/split")


@pytest.mark.parametrize("path", ["/short", "/long"])
def test_an_answer_that_is_not_as_long_as_it_says_does_not_end_as_if_it_were(port: int, path: str) -> None:
    _, _, body = raw(port, path).partition(b"\r\n\r\n")
    assert body in (b"hel", b"hello") and (path == "/long") == (len(body) < 4)
