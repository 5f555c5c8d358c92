"""People at a page: how a browser that has shown a key once is known again, and how the page speaks for its visitor.

A visit is a token of the service's own, worth what the visitor's key is worth without its admin rights, and only until
the key is revoked or the service ends. The browser keeps it as a cookie that scripts cannot read and other sites cannot
send; the page's process gets it with every request that is passed on, so no key ever leaves the service.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from http.cookies import CookieError, SimpleCookie

from starlette.types import Scope

from aphrodite.service.access.keys import digest
from aphrodite.service.access.limits import Meter
from aphrodite.service.access.user import User

#: Where people arrive, also by a link on somebody else's page; it holds nothing but the way to the playground.
ENTRANCE = "/"
PLAYGROUND = "/playground/"
_READING = ("GET", "HEAD")


class Visits:
    """The tokens of one service; each user has one."""

    def __init__(self) -> None:
        self._tokens: dict[Meter, str] = {}
        self._users: dict[bytes, User] = {}

    def token(self, user: User) -> str:
        """What speaks for this user, without admin rights."""
        if user.meter not in self._tokens:
            self._forget_revoked()
            token = self._tokens[user.meter] = "visit-" + secrets.token_urlsafe(32)
            self._users[digest(token.encode())] = replace(user, is_admin=False)
        return self._tokens[user.meter]

    def find(self, token_digest: bytes) -> User | None:
        """Whose token has this digest."""
        user = self._users.get(token_digest)
        return None if user is None or user.meter.revoked else user

    def by_cookie(self, scope: Scope) -> User | None:
        """Who sends this request, as far as its cookies say."""
        name = cookie_name(scope)
        for header, value in scope["headers"]:
            if header == b"cookie" and (token := _value(value.decode("latin-1"), name)):
                return self.find(digest(token.encode("latin-1")))
        return None

    def _forget_revoked(self) -> None:
        self._tokens = {meter: token for meter, token in self._tokens.items() if not meter.revoked}
        self._users = {key: user for key, user in self._users.items() if not user.meter.revoked}


def cookie_name(scope: Scope) -> str:
    """Of this service: browsers do not keep the cookies of a machine's ports apart."""
    return f"aphrodite-visit-{scope['server'][1]}"


def is_page(scope: Scope) -> bool:
    """Whether the path is a page's: it says itself what those get who are not let in."""
    path, is_reading = scope["path"], scope["method"] in _READING
    return path.startswith(PLAYGROUND) or (is_reading and path in (ENTRANCE, PLAYGROUND.rstrip("/")))


def follows_link(scope: Scope) -> bool:
    """Whether somebody has followed a link, from wherever, to the entrance: in a tab of its own, not in a frame."""
    headers = dict(scope["headers"])
    return (
        scope["path"] == ENTRANCE
        and scope["method"] in _READING
        and headers.get(b"sec-fetch-mode") == b"navigate"
        and headers.get(b"sec-fetch-dest") == b"document"
    )


def _value(cookies: str, name: str) -> str | None:
    try:
        found = SimpleCookie(cookies).get(name)
    except CookieError:
        return None
    return None if found is None else found.value
