"""The gate: every request is judged here, before anything looks at its path; what comes through has a user.

Three questions, the same for every route, known or not: is the service called by a name of its own (a web page may
point a foreign name at this machine), may the page that sends this, if one does, and whose key is it?
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aphrodite.service.access.accounts import Accounts
from aphrodite.service.access.hosts import Addressed, Hosts, is_loopback
from aphrodite.service.access.keys import KeyStoreError
from aphrodite.service.access.user import ANONYMOUS, User
from aphrodite.service.access.visits import follows_link, is_page
from aphrodite.service.errors import ApiError, bad_request, unavailable
from aphrodite.service.http.error_replies import error_reply_at
from aphrodite.service.http.replies import Reply

#: Clients that cannot do without a key are given one of these; they mean "none", where none is needed.
NO_KEY = frozenset({b"none", b"empty", b"local", b"no-key", b"not-needed"})
_READ = frozenset(
    {b"host", b"origin", b"sec-fetch-site", b"authorization", b"x-api-key", b"forwarded", b"x-real-ip", b"via"}
)
_EXPOSED = b"x-request-id, x-ignored-params, retry-after, openai-processing-ms"
_PREFLIGHT_SECONDS = "600"


@dataclass(frozen=True)
class Rules:
    """What the operator decided.

    Attributes:
        origins: of web pages that may call, besides the service's own.
        open_paths: answered to everybody.
        require_key: also over loopback.
    """

    hosts: Hosts
    origins: frozenset[bytes] = frozenset()
    open_paths: Collection[str] = ()
    require_key: bool = False


@dataclass(slots=True)
class _Claims:
    """What the headers say about the caller; several values of a header are kept, to be refused."""

    host: list[bytes] = field(default_factory=list)
    origin: list[bytes] = field(default_factory=list)
    site: bytes = b""
    authorization: list[bytes] = field(default_factory=list)
    api_key: list[bytes] = field(default_factory=list)
    is_relayed: bool = False


class Gate:
    """Lets a request in with its user, or answers it."""

    def __init__(self, app: ASGIApp, accounts: Accounts, rules: Rules) -> None:
        self._app, self._accounts, self._rules = app, accounts, rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return  # neither WebSockets nor lifespan: the server is told so, too
        claims = _read(scope)
        try:
            addressed = self._addressed(scope, claims)
            page = self._page(scope, claims, addressed)
            if page and _is_preflight(scope):
                return await _preflight(page, scope)(scope, receive, send)
            scope["user"] = self._user(scope, claims, addressed)
        except ApiError as error:
            return await error_reply_at(scope["path"], error)(scope, receive, send)
        await self._app(scope, receive, _with_origin(send, page) if page else send)

    def _addressed(self, scope: Scope, claims: _Claims) -> Addressed | None:
        if len(claims.host) != 1:
            raise bad_request(f"one Host header is needed, {len(claims.host)} came", code="invalid_host")
        server = scope["server"]
        return self._rules.hosts.addressed(claims.host[0], server[0] if server else "")

    def _page(self, scope: Scope, claims: _Claims, addressed: Addressed | None) -> bytes | None:
        """The origin of a foreign page that may call; None where no page or our own one does.

        Raises:
            ApiError: 403 a page that may not, 421 a name that is not ours.
        """
        if claims.origin:
            if claims.origin[0] in self._rules.origins and len(claims.origin) == 1 and addressed:
                return claims.origin[0]
            if claims.origin != [scope["scheme"].encode() + b"://" + claims.host[0]] or not addressed:
                raise _foreign_page()
        elif (claims.site not in (b"", b"same-origin", b"none") and not (addressed and follows_link(scope))) or (
            claims.site and not addressed
        ):
            raise _foreign_page()
        if not addressed:
            raise ApiError(421, "the Host header names another service; --allowed-host lets this name in",
                           code="host_not_allowed")  # fmt: skip
        return None

    def _user(self, scope: Scope, claims: _Claims, addressed: Addressed | None) -> User:
        is_open = scope["path"] in self._rules.open_paths and scope["method"] in ("GET", "HEAD")
        try:
            key = _key(claims)
            if key is None or key.lower() in NO_KEY:
                return self._keyless(scope, claims, addressed)
            user = self._accounts.find(key)
            if user is None:
                raise _not_let_in("the key is wrong, or was revoked")
            return user
        except ApiError:
            if is_open:
                return ANONYMOUS
            if is_page(scope):
                return self._accounts.visits.by_cookie(scope) or ANONYMOUS
            raise
        except KeyStoreError as error:
            raise unavailable("the keys cannot be read at the moment", "keys_unavailable", 5) from error

    def _keyless(self, scope: Scope, claims: _Claims, addressed: Addressed | None) -> User:
        client = scope["client"]
        is_here = client is not None and is_loopback(client[0]) and addressed is Addressed.LOCAL
        if not is_here or claims.is_relayed or self._rules.require_key:
            raise _not_let_in("a key is needed: `Authorization: Bearer KEY`")
        return self._accounts.local


def _read(scope: Scope) -> _Claims:
    claims = _Claims()
    for name, value in scope["headers"]:
        if name not in _READ:
            continue
        if name == b"host":
            claims.host.append(value)
        elif name == b"authorization":
            claims.authorization.append(value)
        elif name == b"x-api-key":
            claims.api_key.append(value)
        elif name == b"origin":
            claims.origin.append(value)
        elif name == b"sec-fetch-site":
            claims.site = value
        else:  # a proxy speaks for somebody else, so a loopback connection says nothing about who that is
            claims.is_relayed = True
    return claims


def _key(claims: _Claims) -> bytes | None:
    """The one key that was given.

    Raises:
        ApiError: 401, several, or none that could be one.
    """
    if len(claims.authorization) > 1 or len(claims.api_key) > 1:
        raise _not_let_in("several keys were given")
    keys = [*map(_bearer, claims.authorization), *map(bytes.strip, claims.api_key)]
    if not keys:
        return None
    if keys[0] != keys[-1]:
        raise _not_let_in("Authorization and x-api-key differ")
    if not keys[0]:
        raise _not_let_in("the key is empty")
    return keys[0]


def _bearer(value: bytes) -> bytes:
    scheme, _, key = value.partition(b" ")
    if scheme.lower() != b"bearer":
        raise _not_let_in("Authorization must be `Bearer KEY`")
    return key.strip()


def _not_let_in(reason: str) -> ApiError:
    return ApiError(401, reason, code="invalid_api_key")


def _foreign_page() -> ApiError:
    return ApiError(403, "a web page of another origin sent this; --allowed-origin lets a page in",
                    code="origin_not_allowed")  # fmt: skip


def _is_preflight(scope: Scope) -> bool:
    return scope["method"] == "OPTIONS" and any(n == b"access-control-request-method" for n, _ in scope["headers"])


def _preflight(origin: bytes, scope: Scope) -> Reply:
    """What a page of this origin may send; a preflight carries no key."""
    asked = next((v for n, v in scope["headers"] if n == b"access-control-request-headers"), b"")
    reply = Reply(b"", 204)
    reply.headers = {
        "access-control-allow-origin": origin.decode("latin-1"),
        "access-control-allow-methods": "GET, POST, DELETE",
        "access-control-allow-headers": asked.decode("latin-1") or "authorization, content-type",
        "access-control-max-age": _PREFLIGHT_SECONDS,
        "vary": "Origin",
    }
    return reply


def _with_origin(send: Send, origin: bytes) -> Send:
    """Answers that a page of this origin may read."""

    async def send_with_origin(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [
                *message["headers"],
                (b"access-control-allow-origin", origin),
                (b"access-control-expose-headers", _EXPOSED),
                (b"vary", b"Origin"),
            ]
        await send(message)

    return send_with_origin
