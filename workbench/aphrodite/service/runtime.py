"""Where a running service leaves what others need to find it: one folder a port, readable by its owner only."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from aphrodite_engine.errors import AphroditeError

#: sun_path holds 108 bytes, the last of which is a zero.
_MAX_SOCKET_PATH = 107
_LONGEST_SOCKET_NAME = len("engine-4194304-999999.sock")
_POLL_SECONDS = 0.05


class ServiceError(AphroditeError):
    """The service could not be started, found or ended."""


class Connection(msgspec.Struct):
    """Facts of a running service, like a Jupyter kernel's connection file.

    Attributes:
        started: start time of the process in clock ticks since boot, so that a reused pid is not taken for it.
        admin_key: opens the admin routes; it never leaves this file.
        certificate: PEM file that it shows; empty where it speaks plain HTTP.
    """

    pid: int
    started: int
    host: str
    port: int
    admin_key: str
    version: str
    certificate: str = ""

    @property
    def url(self) -> str:
        """Where clients on this machine find it."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "") else "[::1]" if self.host == "::" else self.host
        scheme = "https" if self.certificate else "http"
        return f"{scheme}://{f'[{host}]' if ':' in host and not host.startswith('[') else host}:{self.port}"

    @property
    def is_alive(self) -> bool:
        """Whether the very process that wrote this still runs."""
        return self.started != 0 and start_ticks(self.pid) == self.started


def folder_of(port: int) -> Path:
    """The folder of the service on `port`, whether it exists or not."""
    return _runtime_root() / str(port)


def runtime_directory(port: int) -> Path:
    """The same, made if it is missing: 0700 and ours.

    Raises:
        ServiceError: it belongs to somebody else, is a link, cannot be made, or its path is too long for a socket.
    """
    root, folder = _runtime_root(), folder_of(port)
    if len(os.fsencode(folder)) + 1 + _LONGEST_SOCKET_NAME > _MAX_SOCKET_PATH:
        raise ServiceError(f"{folder} is too long for a Unix socket; set APHRODITE_RUNTIME_DIR to a shorter folder")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for owned in (root, folder):
            found = owned.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
                raise ServiceError(f"{owned} is not a folder of this user's; remove it or set APHRODITE_RUNTIME_DIR")
            owned.chmod(0o700)
    except OSError as error:
        raise ServiceError(f"{folder}: {error.strerror}; set APHRODITE_RUNTIME_DIR to a folder of yours") from error
    return folder


@contextlib.contextmanager
def alone(port: int, deadline: float) -> Iterator[None]:
    """Hold what only one process at a time may: starting a service on `port`. The lock goes with its process.

    Raises:
        ServiceError: another process still starts one at the deadline (of the monotonic clock).
    """
    folder = os.open(runtime_directory(port), os.O_RDONLY | os.O_DIRECTORY)
    try:
        while True:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise ServiceError(f"another process is still starting a service on port {port}") from None
                time.sleep(_POLL_SECONDS)
        yield
    finally:
        os.close(folder)


def _runtime_root() -> Path:
    base = os.environ.get("APHRODITE_RUNTIME_DIR") or os.environ.get("XDG_RUNTIME_DIR")
    return Path(base) / "aphrodite" if base else Path.home() / ".local" / "state" / "aphrodite"


def data_directory() -> Path:
    """Where keys, stored responses, files and batches are kept: 0700, made if it is missing."""
    base = os.environ.get("APHRODITE_DATA_DIR")
    folder = Path(base) if base else Path.home() / ".local" / "share" / "aphrodite"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


def connection_file(port: int) -> Path:
    return folder_of(port) / "service.json"


def log_file(port: int) -> Path:
    return folder_of(port) / "service.log"


def new_log(port: int) -> int:
    """A descriptor of a new log; the one before it is kept beside it."""
    log = runtime_directory(port) / log_file(port).name
    with contextlib.suppress(FileNotFoundError):
        log.replace(log.with_name("service.log.1"))
    return os.open(log, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)


def write_connection(connection: Connection) -> None:
    """Leave the facts where `read_connection` finds them; 0600 from the first byte on."""
    file = runtime_directory(connection.port) / connection_file(connection.port).name
    partial = file.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(msgspec.json.encode(connection))
    partial.rename(file)


def read_connection(port: int) -> Connection | None:
    """The service on `port`, if one of this user's is running."""
    connection = left_connection(port)
    return connection if connection is not None and connection.is_alive else None


def left_connection(port: int) -> Connection | None:
    """What the service on `port` has written, whether it still runs or not; a file of somebody else's is not read."""
    try:
        with open(os.open(connection_file(port), os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            ours = os.fstat(file.fileno()).st_uid == os.getuid()
            return msgspec.json.decode(file.read(), type=Connection) if ours else None
    except (OSError, msgspec.DecodeError):
        return None


def running_ports() -> list[int]:
    """Ports of this user's running services."""
    root = _runtime_root()
    folders = root.iterdir() if root.is_dir() else ()
    return sorted(int(f.name) for f in folders if f.name.isdigit() and read_connection(int(f.name)))


def forget(port: int) -> None:
    """Remove the facts of a service that has ended; its log stays."""
    connection_file(port).unlink(missing_ok=True)


def remove(port: int) -> None:
    """Remove all of a service's files: it never came to run."""
    for file in (connection_file(port), log_file(port)):
        file.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # an older log is kept
        folder_of(port).rmdir()


def start_ticks(pid: int) -> int:
    """When a process was started, in clock ticks since boot; 0 where none runs (a zombie does not)."""
    try:
        stat_line = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0 if Path("/proc/self/stat").exists() or not _exists(pid) else 1
    fields = stat_line.rpartition(")")[2].split()
    return 0 if fields[0] in ("Z", "X") else int(fields[19])


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
