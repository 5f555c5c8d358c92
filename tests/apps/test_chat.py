"""`aphrodite chat`, piped and on a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import subprocess
import sys
import termios
import time

import pytest

from tests.apps.cli import CommandLine

pytestmark = pytest.mark.slow

GREEDY = ("--temperature", "0", "--max-tokens", "16", "--quiet")
QUESTION = "What is 39 + 48?"


def test_each_piped_line_is_a_message_and_only_answers_are_printed(aphrodite: CommandLine) -> None:
    single = aphrodite("generate", "--chat", QUESTION, *GREEDY).out
    done = aphrodite("chat", *GREEDY, stdin=f"{QUESTION}\n\n/reset\n{QUESTION}\n")
    assert done.code == 0
    assert done.out == single * 2
    assert done.err == "forgotten\n"


def test_the_conversation_is_remembered_until_reset(aphrodite: CommandLine) -> None:
    piped = aphrodite("chat", "--seed", "3", "--max-tokens", "16", stdin=f"{QUESTION}\n{QUESTION}\n")
    first, second = (line for line in piped.err.splitlines() if line.startswith("seed"))
    assert first.startswith("seed 3 · ")
    assert second.startswith("seed 3 · ")


def test_quit_ends_before_the_rest(aphrodite: CommandLine) -> None:
    assert aphrodite("chat", *GREEDY, stdin=f"/quit\n{QUESTION}\n").out == ""


def test_seed_system_and_mistakes(aphrodite: CommandLine) -> None:
    lines = ["/seed 5", "/seed many", "/seed", "/system Be brief.", "/system", "/sytem", "/help"]
    done = aphrodite("chat", *GREEDY, stdin="\n".join(lines) + "\n")
    assert done.code == 0
    notes = done.err.splitlines()
    assert notes[:6] == [
        "seed 5",
        "error: /seed many: a whole number from 0 to 2**63 - 1",
        "a new seed each time",
        "begun again",
        "begun again without a system message",
        "error: no such command /sytem; did you mean /system? (/help shows all)",
    ]
    assert "/reset" in done.err


def test_a_question_that_is_too_long_is_refused_and_the_chat_goes_on(aphrodite: CommandLine) -> None:
    done = aphrodite("chat", *GREEDY, "--max-model-len", "48", stdin=f"{'word ' * 100}\n{QUESTION}\n")
    assert done.code == 0
    assert done.out == aphrodite("generate", "--chat", QUESTION, *GREEDY).out
    assert "/reset begins again" in done.err


@pytest.mark.slow
def test_on_a_terminal_an_interrupt_stops_the_answer_and_keeps_the_chat() -> None:
    terminal = Terminal("chat", "--ignore-eos", "--max-tokens", "none", "--seed", "1")
    terminal.wait_for(r"> ")
    terminal.type("Tell me a story.\n")
    terminal.wait_for(r"\w+ \w+ \w+ \w+ \w+")
    terminal.type("\x03")
    terminal.wait_for(r"interrupted[\s\S]*> ")
    terminal.type("/reset\n")
    terminal.wait_for(r"forgotten[\s\S]*> ")
    terminal.type("\x04")
    assert terminal.exit_code() == 0


class Terminal:
    """`aphrodite` behind a real pseudo-terminal, as a person has it."""

    def __init__(self, *argv: str) -> None:
        self._screen, theirs = pty.openpty()
        command = [sys.executable, "-m", "aphrodite_apps.cli", *argv]
        environment = {**os.environ, "NO_COLOR": "1", "TERM": "dumb"}
        self._process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment,
            start_new_session=True,
            # Ctrl-C reaches only processes that have this terminal as their controlling one.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        self._seen = ""

    def type(self, text: str) -> None:
        self._seen = ""
        os.write(self._screen, text.encode())

    def wait_for(self, pattern: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not re.search(pattern, self._seen):
            assert time.monotonic() < end, f"never saw {pattern!r} in {self._seen!r}"
            self._seen += self._read()

    def exit_code(self) -> int:
        while self._read():
            pass
        os.close(self._screen)
        return self._process.wait(timeout=30)

    def _read(self) -> str:
        try:
            return os.read(self._screen, 4096).decode(errors="replace")
        except OSError:  # how Linux says that the other side is closed
            return ""
