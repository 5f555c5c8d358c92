"""Structured logs: one JSON object a line, of service and engine processes alike, in one file of bounded size."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import re
import shutil
import sys
import time
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from typing import TextIO

import msgspec

#: A log that has grown to this is kept beside the new one, in place of the one before.
MAX_BYTES = 16 * 2**20
#: How long finished lines are kept to be written together: what a crash would lose.
_TOGETHER_SECONDS = 0.05
_LONGEST_TEXT = 16_000
#: What JSON leaves as it is and a terminal obeys: delete, C1 controls, line separators, changes of direction.
_OBEYED = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
#: The only state of a request that is looked up instead of handed down: every line says whose it is.
_request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


def belongs_to(request_id: str) -> None:
    """Lines that this task writes from now on, and the tasks that it starts, carry the request's id."""
    _request_id.set(request_id)


class JsonLines(logging.Formatter):
    """time, level, logger, message, request_id, what `about` says, and fields given with `extra={"fields": {...}}`."""

    def __init__(self, **about: str) -> None:
        super().__init__()
        self.about = about

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": time_of(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage()[:_LONGEST_TEXT],
            **self.about,
        }
        if (request_id := _request_id.get()) is not None:
            line["request_id"] = request_id
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)[-_LONGEST_TEXT:]
        return readable(_json(line)).decode()


def time_of(seconds: float) -> str:
    """Unix time as it stands in a line."""
    second = int(seconds)
    return f"{_second(second)}.{int((seconds - second) * 1000):03d}Z"


def readable(line: bytes) -> bytes:
    """A line of JSON without anything that a terminal obeys."""
    if line.isascii() and b"\x7f" not in line:
        return line
    return _OBEYED.sub(_escaped, line.decode()).encode()


@lru_cache(maxsize=2)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def _json(line: dict[str, object]) -> bytes:
    try:
        return msgspec.json.encode(line, enc_hook=str)
    except UnicodeEncodeError:  # half a surrogate pair, which UTF-8 cannot hold: the slower encoder escapes it
        return json.dumps(line, default=str).encode()


def _escaped(character: re.Match[str]) -> str:
    return f"\\u{ord(character[0]):04x}"


class BoundedLog(logging.StreamHandler[TextIO]):
    """Writes to stderr; where that is a file, the file is copied beside itself and emptied when it has grown too long.

    It is emptied and not replaced because the engine processes, and the interpreter where it must, write to the same
    open file: whatever anybody says last is in it.
    """

    def __init__(self, stream: TextIO, max_bytes: int = MAX_BYTES) -> None:
        super().__init__(stream)
        self._max_bytes = max_bytes
        self._waiting: list[bytes] = []
        self._file = _path_of(stream.fileno())
        if self._file is not None:
            # After it was emptied, the others must go on at its new end.
            flags = fcntl.fcntl(stream.fileno(), fcntl.F_GETFL)
            fcntl.fcntl(stream.fileno(), fcntl.F_SETFL, flags | os.O_APPEND)

    def put(self, line: bytes) -> None:
        """Write a finished line in a moment, with those that come meanwhile; needs a running event loop."""
        self._waiting.append(line)
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_later(_TOGETHER_SECONDS, self._write_together)

    def emit(self, record: logging.LogRecord) -> None:
        self._write_waiting()
        super().emit(record)
        self._keep_bounded()

    def flush(self) -> None:
        """Also at the end of the interpreter."""
        self._write_waiting()
        super().flush()

    def _write_together(self) -> None:
        assert self.lock is not None
        with self.lock:
            self._write_waiting()
            self._keep_bounded()

    def _write_waiting(self) -> None:
        """Past the stream's own buffer, which is empty between two lines: what it splits, others could write into."""
        lines = self._waiting[:]
        del self._waiting[: len(lines)]  # this very list: another thread may be adding to it
        data = b"".join(line + b"\n" for line in lines)
        with contextlib.suppress(OSError):  # a full disk costs lines, not requests
            while data:
                data = data[os.write(self.stream.fileno(), data) :]

    def _keep_bounded(self) -> None:
        if self._file is not None and os.fstat(self.stream.fileno()).st_size > self._max_bytes:
            self._empty(self._file)

    def _empty(self, file: Path) -> None:
        older = file.with_name(file.name + ".1")
        try:
            shutil.copyfile(file, older)
            older.chmod(0o600)
        except OSError:  # a full disk: emptying gives it room again
            with contextlib.suppress(OSError):
                older.unlink()
        os.ftruncate(self.stream.fileno(), 0)


def _path_of(descriptor: int) -> Path | None:
    """The regular file behind a descriptor; None for terminals, pipes, and what the system does not tell."""
    link = Path(f"/proc/self/fd/{descriptor}")
    if not link.exists():
        return None
    file = link.resolve()
    return file if file.is_file() else None


def current() -> BoundedLog:
    """The log that `configure` has set up."""
    return next(handler for handler in logging.getLogger().handlers if isinstance(handler, BoundedLog))


def configure(level: int = logging.INFO, max_bytes: int = MAX_BYTES) -> None:
    """Of the service: to stderr, which `aphrodite up` joins to the log file."""
    _install(BoundedLog(sys.stderr, max_bytes), level, JsonLines())


def configure_engine(model: str, level: int = logging.INFO) -> None:
    """Of an engine process: to the same file, with the model's name in every line."""
    _install(logging.StreamHandler(sys.stderr), level, JsonLines(model=model))


def _install(handler: logging.Handler, level: int, formatter: logging.Formatter) -> None:
    # Our lines name no source line, thread or process; the library's own advice for not looking them up.
    logging._srcfile = None  # type: ignore[attr-defined]
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler.setFormatter(formatter)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)
