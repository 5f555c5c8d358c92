"""Everybody the service knows, by key: follows the store as it changes, and writes down what was used."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Iterator
from copy import copy

from aphrodite.service.access.keys import ChangeCounter, Key, KeyStore, KeyStoreError, digest
from aphrodite.service.access.limits import Meter, Usage
from aphrodite.service.access.user import User
from aphrodite.service.access.visits import Visits

logger = logging.getLogger("aphrodite.access")

#: A revoked key is refused at once; answers that still run on it end after at most this long.
FOLLOW_SECONDS = 0.5
#: Usage that a crash would lose.
SAVE_SECONDS = 2.0
#: Compared with where no key fits, so that both cases take the same time.
_NOBODY = bytes(32)


class Accounts:
    """The users behind the keys.

    Attributes:
        local: the owner, calling over loopback without a key.
        visits: tokens of people at a page; the page's process sends them as keys.

    Args:
        admin_key: of the connection file: the owner's too, with the admin routes.
    """

    def __init__(self, store: KeyStore, admin_key: str) -> None:
        self.store = store
        self.local = User()
        self.visits = Visits()
        self._owner = User(is_admin=True, meter=self.local.meter)
        self._owner_digest = digest(admin_key.encode())
        self._by_digest: dict[bytes, tuple[bytes, User]] = {}
        self._saved: dict[Meter, Usage] = {}
        self._former: list[User] = []
        self._counter = ChangeCounter(store.path)
        self._seen = b""
        self.refresh()

    def find(self, key: bytes) -> User | None:
        """Whose key it is.

        Raises:
            KeyStoreError: the store has changed and cannot be read.
        """
        wanted = digest(key)
        if hmac.compare_digest(wanted, self._owner_digest):
            return self._owner
        self.refresh()
        if (visitor := self.visits.find(wanted)) is not None:
            return visitor
        # The look-up runs over digests, which a caller cannot steer; the comparison does not end early.
        stored, user = self._by_digest.get(wanted, (_NOBODY, None))
        return user if hmac.compare_digest(wanted, stored) else None

    def named(self, name: str) -> User | None:
        """Whose key is good and has this name, or is the owner."""
        self.refresh()
        good = (self.local, *(user for _, user in self._by_digest.values()))
        return next((user for user in good if user.tenant == name.lower()), None)

    def users(self) -> Iterator[User]:
        """The owner and everybody whose key is good, or was when the service started."""
        yield self.local
        yield from (user for _, user in self._by_digest.values())
        yield from self._former

    def refresh(self) -> None:
        """Read the store if it has changed."""
        seen = self._counter.read()
        if seen != self._seen:
            self._read()
            self._seen = seen

    def _read(self) -> None:
        known, self._by_digest = self._by_digest, {}
        for key in self.store.all():
            if key.digest is not None:
                self._by_digest[key.digest] = known.pop(key.digest, None) or (key.digest, _user(key))
        for _, user in known.values():
            user.meter.revoked = True
            self._former.append(user)

    # ---- in the background

    async def follow(self) -> None:
        """Notice changes while nobody calls, and save usage now and then; until it is cancelled."""
        rounds = round(SAVE_SECONDS / FOLLOW_SECONDS)
        number = 0
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            number += 1
            try:
                self._reopen_if_replaced()
                self.refresh()
                if number % rounds == 0:
                    await self.save()
            except (KeyStoreError, OSError) as error:  # the disk is full, the file is damaged: tried again next time
                logger.error("keys: %s", error)

    async def save(self) -> None:
        """Write down what was used since the last time.

        Raises:
            KeyStoreError: it could not be written; nothing is lost, the next call tries again.
        """
        now = [(user, copy(user.meter.usage)) for user in self.users() if user is not self.local]
        news = [(user.name, usage.since(self._saved.get(user.meter, Usage()))) for user, usage in now]
        news = [(name, usage) for name, usage in news if usage != Usage()]
        if news:
            await asyncio.to_thread(self.store.count, news)
        self._saved = {user.meter: usage for user, usage in now}
        self._former = [user for user in self._former if user.meter.in_flight]

    def _reopen_if_replaced(self) -> None:
        if not self._counter.is_current:
            self._counter.close()
            self.store = KeyStore(self.store.path)
            self._counter = ChangeCounter(self.store.path)
            self._seen = b""


def _user(key: Key) -> User:
    return User(key.name, key.name.lower(), key.is_admin, key.priority, Meter(key.limits))
