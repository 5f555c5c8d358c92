"""Named keys on disk: only digests of them, in one SQLite file that its owner alone may read.

The command line and running services open the same file. A service notices changes by SQLite's change counter, which
every transaction raises (https://www.sqlite.org/fileformat2.html#file_change_counter) and which costs one small read.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import sqlite3
import stat
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from aphrodite.service.access.limits import Limits, Usage
from aphrodite.service.access.user import ANONYMOUS, KEY_PRIORITY, LOCAL
from aphrodite_engine.errors import AphroditeError

PREFIX = "aph_"
#: 160 random bits.
_KEY_BYTES = 20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_RESERVED = (LOCAL, ANONYMOUS.name, "admin")
MAX_PRIORITY = 1000
_COUNTER_AT, _COUNTER_BYTES = 24, 4
_BUSY_SECONDS = 5.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS keys (
    name TEXT PRIMARY KEY COLLATE NOCASE,
    digest BLOB UNIQUE,
    created REAL NOT NULL,
    revoked REAL,
    last_used REAL,
    is_admin INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    requests_per_minute INTEGER,
    tokens_per_minute INTEGER,
    concurrent INTEGER,
    requests INTEGER NOT NULL DEFAULT 0,
    prompt_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0
)
"""


class KeyStoreError(AphroditeError):
    """A key cannot be made, found or read."""


class NoSuchKeyError(KeyStoreError):
    """There is no key of this name."""


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it is stored.

    Attributes:
        digest: SHA-256 of the key; None once it is revoked.
        last_used: Unix time, to a few seconds.
    """

    name: str
    digest: bytes | None
    created: float
    revoked: float | None
    last_used: float | None
    is_admin: bool
    priority: int
    limits: Limits
    usage: Usage


def digest(key: bytes) -> bytes:
    """What is stored of a key. A key is 160 random bits: there is nothing that a slow hash would protect."""
    return hashlib.sha256(key).digest()


class KeyStore:
    """The file of keys.

    Raises:
        KeyStoreError: the file is not ours, or not a store of keys.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        _make(path)
        with self._open() as connection:
            connection.execute(_SCHEMA)

    def add(
        self, name: str, limits: Limits | None = None, *, priority: int = KEY_PRIORITY, is_admin: bool = False
    ) -> str:
        """Make a key; this is the only time it is seen.

        A name whose key was revoked may have a new one: it is the same tenant, and finds what it had stored.

        Raises:
            KeyStoreError: the name has a key, or is not allowed.
        """
        check_name(name)
        if not -MAX_PRIORITY <= priority <= MAX_PRIORITY:
            raise KeyStoreError(f"priority={priority} is not allowed: from -{MAX_PRIORITY} to {MAX_PRIORITY}")
        key = PREFIX + secrets.token_hex(_KEY_BYTES)
        limits = limits or Limits()
        row = (digest(key.encode()), time.time(), is_admin, priority, *msgspec.structs.astuple(limits), name)
        with self._open() as connection:
            if connection.execute("SELECT 1 FROM keys WHERE name = ? AND revoked IS NULL", (name,)).fetchone():
                raise KeyStoreError(f"there is a key for {name} already; `aphrodite keys revoke {name}` takes it back")
            connection.execute("INSERT OR IGNORE INTO keys (name, created, is_admin, priority) VALUES (?, 0, 0, 0)",
                               (name,))  # fmt: skip
            connection.execute(
                "UPDATE keys SET revoked = NULL, digest = ?, created = ?, is_admin = ?, priority = ?, "
                "requests_per_minute = ?, tokens_per_minute = ?, concurrent = ? WHERE name = ?",
                row,
            )
        return key

    def revoke(self, name: str) -> None:
        """Take a key back.

        Raises:
            NoSuchKeyError: there is none of this name.
        """
        with self._open() as connection:
            done = connection.execute(
                "UPDATE keys SET revoked = ?, digest = NULL WHERE name = ? AND revoked IS NULL", (time.time(), name)
            )
            if done.rowcount == 0:
                raise NoSuchKeyError(f"there is no key for {name[:80]!r}; `aphrodite keys list` shows those there are")

    def all(self) -> list[Key]:
        """Every key, revoked ones too, by name."""
        with self._open() as connection:
            connection.row_factory = sqlite3.Row
            return [_key(row) for row in connection.execute("SELECT * FROM keys ORDER BY name")]

    def count(self, used: Iterable[tuple[str, Usage]]) -> None:
        """Add to what keys have used."""
        rows = [(time.time(), u.requests, u.prompt_tokens, u.output_tokens, name) for name, u in used]
        with self._open() as connection:
            connection.executemany(
                "UPDATE keys SET last_used = ?, requests = requests + ?, prompt_tokens = prompt_tokens + ?, "
                "output_tokens = output_tokens + ? WHERE name = ?",
                rows,
            )

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with contextlib.closing(sqlite3.connect(self.path, timeout=_BUSY_SECONDS)) as connection, connection:
                yield connection
        except sqlite3.Error as error:
            raise KeyStoreError(f"the keys in {self.path} cannot be used: {error}") from error


class ChangeCounter:
    """Tells whether the store has changed, without opening it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self) -> bytes:
        """Differs after every transaction."""
        return os.pread(self._file, _COUNTER_BYTES, _COUNTER_AT)

    @property
    def is_current(self) -> bool:
        """Whether the path still names the file that is being watched."""
        try:
            return os.path.samestat(os.fstat(self._file), self._path.stat())
        except FileNotFoundError:
            return False

    def close(self) -> None:
        os.close(self._file)


def check_name(name: str) -> None:
    """Raises KeyStoreError where nobody may be called that."""
    if name.lower() in _RESERVED:
        raise KeyStoreError(f"the name {name!r} is reserved")
    if not _NAME.fullmatch(name):
        raise KeyStoreError(
            f"the name {name[:80]!r} is not allowed: letters, digits, dots, dashes and underscores, at most 64, "
            "beginning with a letter or a digit"
        )


def _make(path: Path) -> None:
    """The file, 0600 from the first byte on; SQLite gives its journals the same mode."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.getuid():
            raise KeyStoreError(f"{path} is not a file of this user's; remove it") from None
        path.chmod(0o600)
    except OSError as error:
        raise KeyStoreError(f"{path} cannot be made: {error.strerror}") from error


def _key(row: sqlite3.Row) -> Key:
    return Key(
        name=row["name"],
        digest=row["digest"],
        created=row["created"],
        revoked=row["revoked"],
        last_used=row["last_used"],
        is_admin=bool(row["is_admin"]),
        priority=row["priority"],
        limits=Limits(
            requests_per_minute=row["requests_per_minute"],
            tokens_per_minute=row["tokens_per_minute"],
            concurrent=row["concurrent"],
        ),
        usage=Usage(row["requests"], row["prompt_tokens"], row["output_tokens"]),
    )
