"""The hard outer edge of HTTP: uvicorn's protocol with bounds on size, time and number of everything a client sends.

What uvicorn leaves open: how long headers and bodies may take, how large headers may be, how many connections there
may be, clients that do not read, bodies that nobody reads any more, and pipelined requests of a client that leaves.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import time
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from aphrodite.service.errors import ApiError, bad_request
from aphrodite.service.http import refusals
from aphrodite.service.http.cycle import HttpCycle, scope_of
from aphrodite.service.http.edge import Edge

logger = logging.getLogger("aphrodite.http")

#: Of a body that nobody reads any more: so much is taken in and thrown away, so that the client reads the answer.
_DISCARDED_BYTES = 2**20
_DISCARD_SECONDS = 5.0
#: Requests that a client may send before it has read the first answer; a connection that sends more is closed.
_PIPELINED = 16
#: Unsent bytes that the system holds for one connection, beside our own 64 KiB, before we wait for the client.
_UNSENT_BYTES = 128 * 1024
_UPGRADE_HEADERS = frozenset({b"connection", b"upgrade", b"http2-settings"})
_NOTSENT_LOWAT = 25  # of Linux; Python names it from 3.12 on


class EdgeProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(
        self,
        edge: Edge,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._edge, self._bounds = edge, edge.settings
        self._ends: dict[str, Any] = {}  # of the connection, as the application is told of them
        self._is_surplus = False
        self._is_over = False  # nothing more is read; closed when what is being answered is done
        self._refusal: ApiError | None = None  # why the parser was stopped
        # The request that is coming in
        self._since: float | None = None  # None: none is
        self._has_headers = False
        self._pending_bytes = 0  # have come, and the headers are not complete
        self._most_header_bytes = 0  # that they can have, by what has come
        self._trailer_bytes = 0
        self._body_bytes = 0
        self._is_discarded = False  # its answer is out, the rest of its body is thrown away
        # The answer that goes out
        self._answering: RequestResponseCycle | None = None
        self._idle_since: float | None = None  # nothing goes out and nothing comes in
        self._stalled_since: float | None = None
        self._stalled_bytes = 0

    # ---- the connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._ends = {"server": self.server, "client": self.client, "scheme": self.scheme}
        connections = self._edge.connections
        connections.add(self)
        self._since = time.monotonic()
        self._is_surplus = len(connections) > self._edge.most
        if len(connections) > self._edge.most_told:
            transport.abort()
        elif sys.platform == "linux":
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, _UNSENT_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        self._edge.connections.discard(self)
        self.pipeline.clear()
        if self._answering is not None and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_over:
            return
        self._idle_since = None
        if self._since is None:
            self._since = time.monotonic()
        self._most_header_bytes = self._pending_bytes + len(data)
        try:
            self.parser.feed_data(data)  # type: ignore[union-attr]
        except httptools.HttpParserUpgrade as upgrade:
            self._go_on_without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._refuse(self._refusal or bad_request(f"not HTTP/1.1: {error}", code="invalid_http"))
        else:
            self._count_pending(len(data))

    def _count_pending(self, size: int) -> None:
        """The parser tells of a header when it is complete; one that never is must not grow for ever."""
        if self._has_headers or self._since is None:
            self._pending_bytes = 0
            return
        self._pending_bytes += size
        if self._pending_bytes > self._bounds.max_header_bytes:
            self._refuse(refusals.headers_too_large(self._bounds))

    def _go_on_without_upgrade(self, rest: bytes) -> None:
        """Nothing but HTTP/1.1 is spoken here: the request is read as if it had not asked, which it may (RFC 9110,
        7.8). The parser has left its body alone, so another one reads it all again."""
        if self.url[:1] != b"/":
            return self._refuse(bad_request("the request's target must be a path", code="invalid_http"))
        method = self.parser.get_method()  # type: ignore[union-attr]
        version = self.parser.get_http_version().encode()  # type: ignore[union-attr]
        lines = [method + b" " + self.url + b" HTTP/" + version]
        lines += [name + b": " + value for name, value in self.headers if name not in _UPGRADE_HEADERS]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.data_received(b"\r\n".join(lines) + b"\r\n\r\n" + rest)

    # ---- the request

    def on_message_begin(self) -> None:
        self.url, self.headers, self.expect_100_continue = b"", [], False
        self._since = time.monotonic()
        self._has_headers = self._is_discarded = False
        self._body_bytes = self._trailer_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._has_headers:
            return self._drop_trailer(len(name) + len(value))
        if len(self.headers) >= self._bounds.max_headers:
            self._stop(refusals.headers_too_large(self._bounds))
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def _drop_trailer(self, size: int) -> None:
        """What a request is judged by must not change afterwards."""
        self._trailer_bytes += size
        if self._trailer_bytes > self._bounds.max_header_bytes:
            self._stop(refusals.headers_too_large(self._bounds))

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():  # type: ignore[union-attr]
            return
        self._check_headers()
        version = self.parser.get_http_version()  # type: ignore[union-attr]
        if version == "1.0" and any(name == b"transfer-encoding" for name, _ in self.headers):
            self._stop(bad_request("HTTP/1.0 has no transfer-encoding", code="invalid_http"))
        if len(self.pipeline) >= _PIPELINED:
            self._stop(bad_request("too many requests before the first was answered", code="invalid_http"))
        self._begin_cycle(version)
        self._has_headers = True
        self._since = time.monotonic()

    def _check_headers(self) -> None:
        if not self.url.startswith(b"/"):
            self._check_target()
        if self._most_header_bytes > self._bounds.max_header_bytes:  # by what has come, or it is not worth adding up
            size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
            if size > self._bounds.max_header_bytes:
                self._stop(refusals.headers_too_large(self._bounds))

    def _begin_cycle(self, version: str) -> None:
        before, method = self.cycle, self.parser.get_method()  # type: ignore[union-attr]
        keep_alive = version != "1.0" and self.parser.should_keep_alive()  # type: ignore[union-attr]
        self.cycle = HttpCycle(self, scope_of(self._ends, method, self.url, version, self.headers), keep_alive)
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.pipeline.appendleft((self.cycle, self.app))  # type: ignore[arg-type]
            self.flow.resume_reading()  # or a client that leaves would not be noticed

    def _check_target(self) -> None:
        """A target is a path. One that names a host itself must agree with the Host header, by which it is judged."""
        parsed = httptools.parse_url(self.url)
        authority = self.url.partition(b"://")[2].partition(b"/")[0].partition(b"?")[0]
        hosts = [value for name, value in self.headers if name == b"host"]
        if not parsed.host or not parsed.path or hosts != [authority]:
            self._stop(bad_request("the request's target is neither a path nor at its Host", code="invalid_http"))

    def _stop(self, error: ApiError) -> None:
        self._refusal = error
        raise ValueError(error.message)  # out of the parser, which raises its own error for it

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, refusals.too_many_connections if self._is_surplus else app)  # type: ignore[arg-type]

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._is_discarded and self._body_bytes > _DISCARDED_BYTES:
            self._close()
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():  # type: ignore[union-attr]
            return
        super().on_message_complete()
        self._since, self._has_headers = None, False

    # ---- the answer

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if not self.transport.is_closing():
            self._go_on()
        if self._is_over and self._answering and self._answering.response_complete:
            self.transport.close()
        elif self._since is not None and self._has_headers and self.cycle.response_complete:
            self._discard_the_rest()

    def _go_on(self) -> None:
        """With the next request, if it is here already."""
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._idle_since = time.monotonic()

    def _discard_the_rest(self) -> None:
        """Answered before its body was there: closing now would throw the answer away at the client's end."""
        if self.expect_100_continue:  # whether the body comes after all is the client's choice: not to be guessed
            self._close()
        self._is_discarded = True
        self._body_bytes = 0
        self._since = time.monotonic()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled_since, self._stalled_bytes = time.monotonic(), self.transport.get_write_buffer_size()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stalled_since = None

    # ---- time

    def check(self, now: float) -> None:
        """End what takes too long."""
        if self._stalled_since is not None:
            self._check_reader(now, self._stalled_since)
        elif self.transport.is_closing():
            self._stalled_since, self._stalled_bytes = now, self.transport.get_write_buffer_size()
        elif self._since is not None and not self._is_over:
            self._check_writer(now, self._since)
        elif self._idle_since is not None and now - self._idle_since > self._bounds.keep_alive_seconds:
            self._close()

    def _check_reader(self, now: float, since: float) -> None:
        read = self._stalled_bytes - self.transport.get_write_buffer_size()
        if now - since > self._bounds.stall_seconds + max(0, read) / self._bounds.slowest_bytes_per_second:
            logger.info("a client that does not read its answer is left")
            self.transport.abort()

    def _check_writer(self, now: float, since: float) -> None:
        bounds = self._bounds
        if self.flow.read_paused:  # we do not read: the client cannot send
            self._since = now
        elif not self._has_headers:
            if now - since > bounds.header_seconds:
                self._refuse(refusals.too_slow("headers")) if self._pending_bytes else self._close()
        elif self._is_discarded:
            if now - since > _DISCARD_SECONDS:
                self._close()
        elif now - since > bounds.body_seconds + self._body_bytes / bounds.slowest_bytes_per_second:
            self._refuse(refusals.too_slow("body"))

    # ---- the end

    def _close(self) -> None:
        self._is_over = True
        self.transport.close()

    def _refuse(self, error: ApiError) -> None:
        """Say why, where that can still be said, and close; what was asked before is answered first."""
        self._is_over = True
        is_body = self._has_headers and self._since is not None
        if is_body and self.pipeline and self.pipeline[0][0] is self.cycle:
            self.pipeline.popleft()
            return
        if self._answering is None or self._answering.response_complete:
            self._say(error)
        elif is_body:
            if not self._answering.response_started:
                self._say(error)
            self._answering.disconnected = True
            self._answering.message_event.set()
            self.transport.close()

    def _say(self, error: ApiError) -> None:
        logger.info("refused before routing: %d %s", error.status, error.message)
        self.transport.write(refusals.as_bytes(error))
        self.transport.close()
