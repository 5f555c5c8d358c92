"""Who may come in: keys and their limits, and the gate that every request passes before it is routed."""

from aphrodite.service.access.user import Access, User

__all__ = ["Access", "User"]
