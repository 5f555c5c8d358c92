"""Every request that the Jupyter server lets through goes on to the service, as this user's on this machine.

The Jupyter server has checked who calls; what is left to check is which page does. A page of the Jupyter server's own
address (notebooks, this tile) speaks for the user, another one does not: its Origin is passed on as it is, and the
service refuses it. The name that Jupyter is called by means nothing to the service, so it is replaced by the service's.
"""

from __future__ import annotations

import contextlib
import html
import ssl
from collections.abc import AsyncGenerator, Iterator
from urllib.parse import urlsplit

import httpx2
from starlette.requests import ClientDisconnect, Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from aphrodite.service.errors import unavailable
from aphrodite.service.http.replies import Reply, error_reply
from aphrodite.service.pages.sheet import sheet
from aphrodite.service.runtime import Connection
from aphrodite_apps.cli.service_client import port_flag
from aphrodite_apps.jupyter.destination import Destination, destination
from aphrodite_apps.jupyter.starter import Starter

Header = tuple[bytes, bytes]

#: Of one connection, not of the message; httpx2 writes its own.
_HOP_BY_HOP = frozenset(
    (b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te",
     b"trailer", b"transfer-encoding", b"upgrade")
)  # fmt: skip
#: Whom Jupyter's own proxies speak for has been settled by Jupyter.
_SETTLED = frozenset((b"host", b"content-length", b"forwarded", b"via", b"x-real-ip"))
_PREFIX = b"x-forwarded-prefix"

_STARTING = """<h1>Aphrodite</h1><p>No service runs yet: one is being started, with the bundled model. It goes on when
Jupyter ends.</p><div class="busy"></div><script>
const timer = setInterval(async () => {
  const answer = await fetch("./", {method: "HEAD"}).catch(() => null);
  if (answer && answer.status !== 503) { clearInterval(timer); location.reload(); }
}, 300);
</script>"""
_AGAIN = '<noscript><meta http-equiv="refresh" content="2"></noscript>'
_FAILED = """<h1>Aphrodite</h1><p class="wrong">The service could not be started.</p><p>{reason}</p>
<p>In a terminal, <code>aphrodite up</code> starts it. <a href="./">Try again</a></p>"""
_NONE = """<h1>Aphrodite</h1><p>No service runs on port {port}.</p>
<p>In a terminal, <code>aphrodite up{flag}</code> starts one. <a href="./">Look again</a></p>"""


class Relay:
    """The ASGI application.

    Args:
        port: of the service that is started where none runs.
    """

    def __init__(self, port: int) -> None:
        self._starter = Starter(port)
        self._clients: dict[str, httpx2.AsyncClient] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        found = destination(scope["raw_path"], self._starter.port)
        if not found.path:
            return await _with_slash(found)(scope, receive, send)
        is_tile = found.path == b"/"
        if found.connection is None or (is_tile and self._starter.is_busy):
            return await self._absent(scope, found)(scope, receive, send)
        with contextlib.suppress(ClientDisconnect):
            answer = await self._answer(Request(scope, receive), found.connection, found)
            await answer(scope, receive, send)

    def _absent(self, scope: Scope, found: Destination) -> Reply:
        """Somebody at the tile gets the service started; a program is told that there is none."""
        flag = port_flag(found.port)
        if found.path != b"/" or scope["method"] not in ("GET", "HEAD"):
            none = f"no service runs on port {found.port}; `aphrodite up{flag}` starts one"
            return error_reply(unavailable(none, "no_service"))
        if found.port != self._starter.port:
            return sheet(_NONE.format(port=found.port, flag=flag), 404)
        if scope["method"] == "HEAD":  # the page that waits
            return Reply(b"", 503 if self._starter.is_busy else 404)
        failed = self._starter.start()
        if failed is not None:
            return sheet(_FAILED.format(reason=html.escape(failed.reason)), 500)
        return sheet(_STARTING, 503, _AGAIN)

    async def _answer(self, request: Request, connection: Connection, found: Destination) -> StreamingResponse | Reply:
        query = request.scope["query_string"]
        url = connection.url + found.path.decode("latin-1") + (f"?{query.decode('latin-1')}" if query else "")
        headers = list(_passed_on(request.scope["headers"], connection, found))
        try:
            client = self._client(connection)
            sent = client.build_request(request.method, url, headers=headers, content=await request.body())
            answer = await client.send(sent, stream=True)
        except httpx2.TransportError as error:
            return error_reply(unavailable(f"the service on port {found.port} did not answer: {error}", "no_service"))
        response = StreamingResponse(_pieces(answer), answer.status_code)
        response.raw_headers = [pair for pair in answer.headers.raw if pair[0].lower() not in _HOP_BY_HOP]
        return response

    def _client(self, connection: Connection) -> httpx2.AsyncClient:
        """One a certificate: connections to a service are kept."""
        if connection.certificate not in self._clients:
            verify = _trusting(connection.certificate) if connection.certificate else True
            limits = httpx2.Limits(max_connections=None)
            self._clients[connection.certificate] = httpx2.AsyncClient(
                verify=verify, trust_env=False, timeout=None, limits=limits
            )
        return self._clients[connection.certificate]


def _with_slash(found: Destination) -> Reply:
    """The address is relative, so it holds under Jupyter's prefix."""
    reply = Reply(b"", 307)
    reply.headers["location"] = found.prefix.removeprefix(b"/").decode() + "/"
    return reply


def _passed_on(headers: list[Header], connection: Connection, found: Destination) -> Iterator[Header]:
    own = urlsplit(connection.url)
    called = next((value for name, value in headers if name == b"host"), b"")
    yield b"host", own.netloc.encode()
    for name, value in headers:
        if name == _PREFIX:
            yield name, value + found.prefix
        elif name == b"origin" and _is_of(value, called):
            yield name, f"{own.scheme}://{own.netloc}".encode()
        elif name == b"authorization" and value.lower().startswith(b"token "):
            continue  # Jupyter's, and meant for it
        elif name not in _SETTLED | _HOP_BY_HOP and not name.startswith(b"x-forwarded-"):
            yield name, value


def _is_of(origin: bytes, host: bytes) -> bool:
    """Whether a page's origin is the very server that it called; the scheme may have changed on the way."""
    scheme, _, authority = origin.partition(b"://")
    return scheme in (b"http", b"https") and bool(host) and authority.lower() == host.lower()


async def _pieces(answer: httpx2.Response) -> AsyncGenerator[bytes]:
    try:
        async for piece in answer.aiter_raw():
            yield piece
    finally:
        await answer.aclose()


def _trusting(certificate: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=certificate)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.check_hostname = False  # the certificate names what others call this machine, and it is this very one
    return context
