"""What a disk or a database refuses, as an answer."""

from __future__ import annotations

import errno
import logging
import sqlite3

from aphrodite.service.errors import ApiError, unavailable

logger = logging.getLogger("aphrodite.storage")

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def storage_error(error: sqlite3.Error | OSError) -> ApiError:
    """507 where nothing can be written (503 where another process is in the way); the details go to the log."""
    logger.error("storage failed: %s: %s", type(error).__name__, error)
    if isinstance(error, OSError):
        return _full() if error.errno in _FULL else _unusable()
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte of an extended code is its family
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return unavailable("the storage is busy; try again", "storage_busy")
    return _full() if code == sqlite3.SQLITE_FULL else _unusable()


def _full() -> ApiError:
    return ApiError(507, "the service's disk is full: nothing was stored", code="storage_full")


def _unusable() -> ApiError:
    return ApiError(507, "the service cannot use its storage now; its log says more", code="storage_unavailable")
