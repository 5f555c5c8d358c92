"""Which running service a stored piece of work belongs to.

Several services may share a data folder. Each holds a lock on a file of its own for as long as it lives; the kernel
lets go of it however the process ends, so work whose lock is free was interrupted.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path


class Instance:
    """This process, to others that look at the same folder."""

    def __init__(self, folder: Path) -> None:
        self.id = secrets.token_hex(8)
        self._folder = folder
        self._descriptor: int | None = None

    def claim(self) -> None:
        """Take the lock; others see this instance as alive from now on.

        Raises:
            OSError: the folder cannot be written.
        """
        if self._descriptor is None:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(self._file(self.id), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            self._descriptor = descriptor

    def release(self) -> None:
        """Let go of it."""
        if self._descriptor is not None:
            self._file(self.id).unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """While no other instance is in here."""
        descriptor = os.open(self._folder / "alone.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def is_alive(self, other: str) -> bool:
        """Whether the instance of that id still runs; what a dead one left is removed."""
        if other == self.id:
            return True
        try:
            descriptor = os.open(self._file(other), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._file(other).unlink(missing_ok=True)
            return False
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)

    def _file(self, instance_id: str) -> Path:
        return self._folder / f"{instance_id}.lock"
