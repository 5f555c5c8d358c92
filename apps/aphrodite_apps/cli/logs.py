"""`aphrodite logs`: what the service has written, also after it has ended."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any, TextIO

from aphrodite.service import runtime
from aphrodite.service.runtime import ServiceError
from aphrodite_apps.cli import terminal
from aphrodite_apps.cli.command import Command
from aphrodite_apps.cli.service_client import add_port_flag

_POLL_SECONDS = 0.2
_SHOWN_FIRST = ("time", "level", "logger", "message", "exception")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what is written from now on")
    parser.add_argument("-n", "--lines", type=int, default=50, metavar="N", help="so many of the last (default: 50)")
    add_port_flag(parser)


def run(arguments: argparse.Namespace) -> int:
    file = runtime.log_file(arguments.port)
    try:
        log = file.open(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise ServiceError(f"no service has written a log on port {arguments.port}") from None
    with log:
        for line in deque(log, maxlen=max(arguments.lines, 0)):
            _write(line)
        if arguments.follow:
            _follow(log, file, arguments.port)
    return 0


def _follow(log: TextIO, file: Path, port: int) -> None:
    """Until an interrupt, or the service has ended and all it wrote was shown."""
    while True:
        is_running = runtime.read_connection(port) is not None
        for line in iter(log.readline, ""):
            _write(line)
        if file.stat().st_size < log.tell():  # it had grown too long, was copied aside and begun anew
            log.seek(0)
        if not is_running:
            terminal.note("the service has ended")
            return
        time.sleep(_POLL_SECONDS)


def _write(line: str) -> None:
    """As it is for a program, as a sentence for a person, whose terminal obeys nothing that a request smuggled in."""
    sys.stdout.write(_sentence(line) if sys.stdout.isatty() else line)
    sys.stdout.flush()


def _sentence(line: str) -> str:
    try:
        found: dict[str, Any] = json.loads(line)
        clock = found["time"][11:19]
    except (ValueError, TypeError, KeyError):
        return _plain(line)
    level = str(found.get("level", ""))
    shown = _plain(f"{level:<7} {found.get('message', '')}")
    extra = _plain(" ".join(f"{key}={value}" for key, value in found.items() if key not in _SHOWN_FIRST))
    trace = f"{_plain(str(found['exception']))}\n" if "exception" in found else ""
    if level in ("error", "critical"):
        shown = terminal.paint(shown, "red")
    return f"{terminal.paint(_plain(clock), 'dim')} {shown} {terminal.paint(extra, 'dim')}\n{trace}"


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


COMMAND = Command("logs", "show what the service has written", add_arguments, run)
