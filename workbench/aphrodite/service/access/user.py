"""Who calls, and what a route asks of its caller."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from aphrodite.service.access.limits import Meter

OWNER_PRIORITY = 0
#: After the owner's own requests.
KEY_PRIORITY = 10
#: The owner at this machine: callers over loopback without a key, and the key of the connection file.
LOCAL = "local"


class Access(enum.Enum):
    """What a route asks of its caller."""

    OPEN = "open"
    USER = "user"
    ADMIN = "admin"


@dataclass(frozen=True)
class User:
    """Who calls.

    Attributes:
        name: of the key, or "local" for the owner.
        tenant: whose stored things the caller sees, and whose cached prefixes it shares.
        priority: lower runs first.
        meter: what the caller has used and may still use.
    """

    name: str = LOCAL
    tenant: str = LOCAL
    is_admin: bool = False
    priority: int = OWNER_PRIORITY
    meter: Meter = field(default_factory=Meter, compare=False, repr=False)


#: Who asks for an open route without any right to be here.
ANONYMOUS = User("anonymous", "anonymous")
