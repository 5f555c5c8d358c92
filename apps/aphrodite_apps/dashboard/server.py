"""The page's HTTP side: Gradio on an inherited socket, under whatever prefix, loading nothing from outside."""

from __future__ import annotations

import socket
from pathlib import Path
from urllib.parse import quote

import fastapi
import gradio as gr
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aphrodite_apps.dashboard import page
from aphrodite_apps.dashboard.visitor import Visitors

#: What Gradio is told to be its own address; no page keeps it.
_ROOT = b"http://playground.invalid"
#: Where the page is, the browser knows best: behind any number of proxies the address bar is right.
_REAL_ROOT = b'new URL(".", location.href).href.slice(0, -1)'
_MANIFEST = b'<link rel="manifest" href="/manifest.json" />'
_ICON = (
    b'<link rel="icon" href="data:image/svg+xml,'
    + quote((Path(__file__).parent / "icon.svg").read_bytes()).encode()
    + b'">'
)
#: Also enforced against what a model may write: an image from elsewhere would tell elsewhere that it was shown.
_POLICY = (
    b"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; form-action 'self'; base-uri 'self'; "
    b"frame-ancestors 'self'"
)
#: What the page asks for. Gradio's others (files, uploads, remote proxies, components) have nothing to do here.
_FILES = ("/assets/", "/static/", "/svelte/")
_CALLS = ("/theme.css", "/config", *(f"/gradio_api/{name}" for name in (
    "queue/", "run/", "heartbeat/", "cancel", "startup-events", "theme.css", "reset", "info", "app_id",
)))  # fmt: skip


def run(listener: socket.socket, url: str, certificate: str | None) -> None:
    """Serve until this process is ended.

    Args:
        url, certificate: of the service.
    """
    config = uvicorn.Config(
        application(Visitors(url, certificate)), loop="asyncio", ws="none", access_log=False, log_config=None,
        date_header=False, server_header=False, timeout_keep_alive=1,
    )  # fmt: skip
    uvicorn.Server(config).run(sockets=[listener])


def application(visitors: Visitors) -> ASGIApp:
    """The page and what it asks for."""
    blocks = page.build(visitors)
    gradio_app = gr.mount_gradio_app(
        fastapi.FastAPI(), blocks, path="/", theme=page.theme(), css=page.style(), head=page.HEAD, footer_links=[],
        run_history=False, ssr_mode=False, pwa=False, mcp_server=False, enable_monitoring=False, show_error=False,
    )  # fmt: skip
    return _Narrow(_Rooted(gradio_app))


class _Narrow:
    """Lets through what the page asks for, and says what the browser may load."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not _is_wanted(scope["path"]):
            return await _not_found(send)
        await self._app(scope, receive, _with_headers(send))


def _is_wanted(path: str) -> bool:
    return path == "/" or path.startswith((*_FILES, *_CALLS))


async def _not_found(send: Send) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [
                *message["headers"],
                (b"x-accel-buffering", b"no"),  # nginx would keep a stream until it has a few kilobytes
                (b"content-security-policy", _POLICY),
                (b"referrer-policy", b"same-origin"),
                (b"x-content-type-options", b"nosniff"),
            ]
        await send(message)

    return send_with_headers


class _Rooted:
    """The page's address is written into the page as an expression that the browser computes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        names = (b"x-forwarded-host", b"x-forwarded-proto", b"x-gradio-server", b"accept-encoding")
        headers = [(name, value) for name, value in scope["headers"] if name not in names]
        scope = {**scope, "headers": [*headers, (b"x-gradio-server", _ROOT)]}
        await self._app(scope, receive, _Page(send) if scope["path"] == "/" else send)


class _Page:
    """Gathers a page and sends it with its real address."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message = {}
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        self._body += message.get("body", b"")
        if message.get("more_body", False):
            return
        body = self._body.replace(b'"' + _ROOT + b'"', _REAL_ROOT).replace(_MANIFEST, _ICON)
        headers = [(name, value) for name, value in self._start["headers"] if name != b"content-length"]
        headers += [(b"content-length", b"%d" % len(body)), (b"cache-control", b"no-store")]
        await self._send({**self._start, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})
