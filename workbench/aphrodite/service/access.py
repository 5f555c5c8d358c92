"""Who may come in."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Access(enum.Enum):
    """What a route asks of its caller."""

    OPEN = "open"
    USER = "user"
    ADMIN = "admin"


@dataclass(frozen=True)
class User:
    """Who calls.

    Attributes:
        name: of the key, or "local" for a loopback caller without one.
        tenant: whose stored things the caller sees, and whose cached prefixes it shares.
        priority: lower runs first.
    """

    name: str = "local"
    tenant: str = "local"
    is_admin: bool = False
    priority: int = 0
