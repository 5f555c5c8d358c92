"""Keys of a test's service."""

from __future__ import annotations

import itertools

from aphrodite.service.access.keys import KeyStore
from aphrodite.service.access.limits import Limits
from tests.service.running import Running

_numbers = itertools.count(1)


def store(service: Running) -> KeyStore:
    """Its keys, as `aphrodite keys` would open them."""
    return KeyStore(service.home / "data" / "keys.sqlite")


def new_name() -> str:
    return f"mate{next(_numbers)}"


def new_key(service: Running, name: str | None = None, *, is_admin: bool = False, **limits: int) -> str:
    """A key, made beside the running service."""
    return store(service).add(name or new_name(), Limits(**limits), is_admin=is_admin)


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}
