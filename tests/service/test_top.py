"""`aphrodite top` in a pipe and in a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.service.running import Running, wait_for

ENDLESS = {
    "model": "demo", "messages": [{"role": "user", "content": "Tell me a story."}], "ignore_eos": True,
    "max_tokens": 1900, "stream": True,
}  # fmt: skip
LEAVES_ALTERNATE_SCREEN, SHOWS_CURSOR = b"\x1b[?1049l", b"\x1b[?25h"


def command(service: Running, *flags: str) -> list[str]:
    return [sys.executable, "-m", "aphrodite_apps.cli", "top", "--port", str(service.connection.port), *flags]


def environment(service: Running, **more: str) -> dict[str, str]:
    inherited = {
        name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "FORCE_COLOR")
    }
    return inherited | {"APHRODITE_RUNTIME_DIR": str(service.home / "run"), "TERM": "xterm-256color", **more}


def once(service: Running, columns: int = 120) -> str:
    done = subprocess.run(
        command(service, "--once"), env=environment(service, COLUMNS=str(columns)),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@contextmanager
def under_load(service: Running) -> Iterator[None]:
    """One endless stream."""
    with service.client() as client, client.stream("POST", "/v1/chat/completions", json=ENDLESS) as stream:
        ended = threading.Event()

        def read() -> None:
            for _ in stream.iter_lines():
                if ended.is_set():
                    return

        reader = threading.Thread(target=read)
        reader.start()
        yield
        ended.set()
        reader.join()


class Terminal:
    """A command in a terminal of its own."""

    def __init__(self, arguments: list[str], env: dict[str, str], columns: int) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.before = termios.tcgetattr(theirs)
        self._theirs = theirs  # kept open, to ask afterwards how it was left
        self.process = subprocess.Popen(
            arguments, stdin=theirs, stdout=theirs, stderr=theirs, env=env, start_new_session=True
        )
        self.output = b""

    def until(self, pattern: bytes, seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.output):
            assert time.monotonic() < deadline, self.output[-2000:]
            if select.select([self._ours], [], [], 0.1)[0]:
                self.output += os.read(self._ours, 65536)

    def type(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def left(self) -> list[object]:
        return termios.tcgetattr(self._theirs)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._ours)
        os.close(self._theirs)


@contextmanager
def terminal(service: Running, columns: int = 100, **env: str) -> Iterator[Terminal]:
    found = Terminal(command(service, "--interval", "0.2"), environment(service, **env), columns)
    try:
        yield found
    finally:
        found.close()


def test_one_frame_under_load_shows_models_keys_and_rates(service: Running) -> None:
    with under_load(service):
        text = once(service)
    title, flight, rate = text.splitlines()[:3]
    assert service.url in title
    assert flight.startswith("1 in flight")
    assert int(re.match(r"([\d,]+) tokens/s", rate)[1].replace(",", "")) > 0  # type: ignore[index]
    rows = {line.split()[0]: line.split() for line in text.splitlines()[4:] if line}
    assert rows["demo"][1:3] == ["ready", "1"]
    assert rows["local"][1] == "1"
    assert "\x1b" not in text


@pytest.mark.parametrize("columns", [20, 45, 70, 100, 200])
def test_no_line_is_wider_than_the_terminal(service: Running, columns: int) -> None:
    lines = once(service, columns).splitlines()
    assert max(map(len, lines)) <= columns
    assert any(line.startswith("demo") for line in lines)


def test_q_ends_it_and_leaves_the_terminal_as_it_was(service: Running) -> None:
    with under_load(service), terminal(service) as screen:
        screen.until(rb"(?s)tokens/s.*tokens/s")
        screen.until(rb"ready")
        screen.type(b"\x1b[A")  # an arrow is not the escape key
        screen.until(rb"(?s)(tokens/s.*){4}")
        assert screen.process.poll() is None
        screen.type(b"q")
        screen.until(re.escape(LEAVES_ALTERNATE_SCREEN))
        assert screen.process.wait(10) == 0
        assert SHOWS_CURSOR in screen.output
        assert screen.left() == screen.before


def test_an_interrupt_ends_it_too(service: Running) -> None:
    with terminal(service) as screen:
        screen.until(rb"ready")
        screen.process.send_signal(signal.SIGINT)
        screen.until(re.escape(LEAVES_ALTERNATE_SCREEN))
        assert screen.process.wait(10) == 0
        assert screen.left() == screen.before


def test_without_colour_there_is_none(service: Running) -> None:
    with terminal(service, NO_COLOR="1") as screen:
        screen.until(rb"ready")
        colours = re.findall(rb"\x1b\[[\d;]*3[0-7][\d;]*m", screen.output)
        assert colours == []


def test_a_terminal_that_cannot_be_drawn_over_gets_one_frame(service: Running) -> None:
    with terminal(service, TERM="dumb") as screen:
        screen.until(rb"ready")
        assert wait_for(lambda: screen.process.poll() is not None, 10)
        assert screen.process.returncode == 0
        assert b"\x1b[?1049" not in screen.output


def test_without_a_service_it_says_so(service: Running) -> None:
    arguments = [sys.executable, "-m", "aphrodite_apps.cli", "top", "--port", "1"]
    done = subprocess.run(arguments, env=environment(service), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: no service runs on port 1")


def test_an_interval_out_of_range_is_refused(service: Running) -> None:
    for interval in ("0", "nan", "1e9", "soon"):
        done = subprocess.run(
            command(service, "--interval", interval), env=environment(service),
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 2 and "--interval" in done.stderr and "Traceback" not in done.stderr
