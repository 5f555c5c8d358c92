"""Which names a request may be addressed to, and which web pages may send one."""

from __future__ import annotations

import enum
import ipaddress
import re
import socket
from collections.abc import Iterable
from functools import lru_cache

from aphrodite.service.errors import ApiError, bad_request

_AUTHORITY = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]{2,45})\]|(?P<name>[A-Za-z0-9._-]{1,253}))(?::(?P<port>\d{1,5}))?")
_ORIGIN = re.compile(r"https?://[^/?#\s]+")
_THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "::1"})


class Addressed(enum.Enum):
    """What the Host header calls this service."""

    LOCAL = "local"  # by a name that means this very machine
    KNOWN = "known"  # by another name it may be called


class Hosts:
    """The names of this service.

    Args:
        bound: the address it listens on.
        allowed: further names, as the operator gave them.
    """

    def __init__(self, bound: str, allowed: Iterable[str] = ()) -> None:
        own = {bound.strip("[]").lower()}
        self._local = _THIS_MACHINE | own if is_loopback(bound) else _THIS_MACHINE
        self._known = own | {_name_in(name) for name in allowed}
        if not is_loopback(bound):
            self._known.add(socket.gethostname().lower())

    def addressed(self, host: bytes, address: str) -> Addressed | None:
        """How the Host header calls this service; None where it is not called that.

        Args:
            address: of this end of the connection: nobody can make a foreign name of it.

        Raises:
            ApiError: 400, the header is not a host and a port.
        """
        name = host_name(host)
        if name in self._local:
            return Addressed.LOCAL
        return Addressed.KNOWN if name in self._known or name == address else None


@lru_cache(maxsize=1024)
def host_name(host: bytes) -> str:
    """The name in a Host header, without its port.

    Raises:
        ApiError: 400.
    """
    found = _AUTHORITY.fullmatch(host.decode("latin-1"))
    if found is None or int(found["port"] or 0) > 65535:
        raise bad_request("the Host header is not a name or an address with a port", code="invalid_host")
    return (found["v6"] or found["name"]).lower()


@lru_cache(maxsize=1024)
def is_loopback(address: str) -> bool:
    """Whether an address, or the name localhost, means this machine."""
    if address == "localhost":
        return True
    try:
        found = ipaddress.ip_address(address.strip("[]"))
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback


def checked_origins(origins: Iterable[str]) -> frozenset[bytes]:
    """Origins whose pages may call, as browsers write them.

    Raises:
        ValueError: one is not an origin: `*` would let every web page in.
    """
    for origin in origins:
        if not _ORIGIN.fullmatch(origin.rstrip("/")):
            raise ValueError(f"{origin!r} is not an origin: write it as https://lab.example or http://localhost:3000")
    return frozenset(origin.rstrip("/").lower().encode() for origin in origins)


def _name_in(authority: str) -> str:
    try:
        return host_name(authority.encode())
    except ApiError:
        raise ValueError(f"{authority!r} is not a host name") from None
