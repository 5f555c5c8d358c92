"""Everything that a service keeps, in one folder."""

from __future__ import annotations

from pathlib import Path

from aphrodite.service.storage.batch_lines import BatchLines
from aphrodite.service.storage.batches import Batches
from aphrodite.service.storage.conversations import Conversations, ConversationStore, SqliteConversations
from aphrodite.service.storage.database import Database
from aphrodite.service.storage.files import Files
from aphrodite.service.storage.responses import Responses


class Storage:
    """Nothing is opened before it is used: a service without a disk to write on still answers."""

    def __init__(self, directory: Path) -> None:
        self._database = Database(directory / "service.sqlite")
        self.responses = Responses(self._database)
        self.conversations = Conversations(self._database)
        self.files = Files(self._database, directory / "files")
        self.batches = Batches(self._database)
        self.batch_lines = BatchLines(self._database)

    def conversation_store(self, tenant: str) -> ConversationStore:
        """A tenant's memory of its sessions."""
        return SqliteConversations(self._database, tenant)

    async def close(self) -> None:
        """Finish what is queued."""
        await self._database.close()
