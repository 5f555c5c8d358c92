"""Once an hour: what is too old is forgotten, and what died services left behind is swept up."""

from __future__ import annotations

import asyncio
import logging

from aphrodite.service.errors import ApiError
from aphrodite.service.storage.storage import Storage

logger = logging.getLogger("aphrodite.housekeeping")

_SECONDS = 3600.0


async def keep_house(storage: Storage) -> None:
    """Until it is cancelled."""
    while True:
        try:
            await storage.files.sweep()
            if count := await storage.retention.expire():
                logger.info("%d stored things were older than they may be, and are deleted", count)
        except ApiError as error:  # the storage has written down why; the next hour may find it well again
            logger.warning("housekeeping waits: %s", error)
        except Exception:  # the outermost frame of this loop, which must not end before the service does
            logger.exception("housekeeping failed")
        await asyncio.sleep(_SECONDS)
