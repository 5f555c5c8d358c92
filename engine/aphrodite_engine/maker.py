"""Whoever made a result, so that more can be asked of it."""

from __future__ import annotations

import weakref
from typing import Any

from aphrodite_engine.errors import OriginError


class Maker:
    """A session that a result remembers; no part of what the result is: all makers are equal, and copies that leave the
    process know none.

    Args:
        session: kept alive, unless a weak reference to it is given. None is nobody.
    """

    def __init__(self, session: Any = None) -> None:
        self._session = session

    def find(self) -> Any:
        """The session.

        Raises:
            OriginError: there is none, or it is gone.
        """
        session = self._session() if isinstance(self._session, weakref.ref) else self._session
        if session is None:
            gone = (
                "the model that made this result is gone" if self._session else "nobody is known who made this result"
            )
            raise OriginError(f"{gone}: ask a session of your own, session.branch(result, ...)")
        return session

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Maker)

    def __hash__(self) -> int:
        return 0

    def __deepcopy__(self, memo: object) -> Maker:
        return self

    def __reduce__(self) -> tuple[type[Maker], tuple[()]]:
        return Maker, ()
