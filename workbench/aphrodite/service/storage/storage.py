"""Everything that a service keeps, in one folder."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from aphrodite.service.settings import StorageSettings
from aphrodite.service.storage.batch_lines import BatchLines
from aphrodite.service.storage.batches import Batches
from aphrodite.service.storage.conversations import Conversations, ConversationStore, SqliteConversations
from aphrodite.service.storage.database import Database
from aphrodite.service.storage.files import Files
from aphrodite.service.storage.quota import Quota
from aphrodite.service.storage.responses import Responses
from aphrodite.service.storage.retention import Retention


class Storage:
    """Nothing is opened before it is used: a service without a disk to write on still answers."""

    def __init__(
        self, directory: Path, settings: StorageSettings | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        settings = settings or StorageSettings()
        self._database, self._clock, self._quota = Database(directory / "service.sqlite"), clock, Quota(settings)
        self.responses = Responses(self._database, self._quota, clock)
        self.conversations = Conversations(self._database, self._quota, clock)
        self.files = Files(self._database, directory / "files", self._quota, clock)
        self.batches = Batches(self._database, self._quota, clock)
        self.batch_lines = BatchLines(self._database)
        self.retention = Retention(self._database, self.files, settings.keep_days, clock)

    def conversation_store(self, tenant: str) -> ConversationStore:
        """A tenant's memory of its sessions."""
        return SqliteConversations(self._database, tenant, self._quota, self._clock)

    async def close(self) -> None:
        """Finish what is queued."""
        await self._database.close()
