"""The magics in IPython in a terminal: text is printed as it comes, and Ctrl-C keeps what was there."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator

import pexpect
import pytest

from tests.magics.kernels import folders_of
from tests.service.running import Running

_PROMPT = re.compile(r"In \[\d+\]: ")


class Terminal:
    """IPython at a terminal of its own."""

    def __init__(self, service: Running) -> None:
        own = {"IPYTHONDIR": str(service.home / "ipython"), "TERM": "dumb", "APHRODITE_DISPLAY": ""}
        command = ["-m", "IPython", "--simple-prompt", "--no-banner", "--no-confirm-exit", "--colors=nocolor"]
        self.child: pexpect.spawn[str] = pexpect.spawn(
            sys.executable, command, env=os.environ | own | folders_of(service), encoding="utf-8", timeout=60,
            dimensions=(50, 200),
        )  # fmt: skip
        self.child.expect(_PROMPT)
        self("%load_ext aphrodite")

    def __call__(self, *lines: str) -> str:
        """Type the lines and give what appears before the next prompt."""
        self.start(*lines)
        return self.rest()

    def start(self, *lines: str) -> None:
        """Type the lines; where there are several, two empty ones end the cell."""
        for line in lines if len(lines) == 1 else (*lines, "", ""):
            self.child.sendline(line)

    def rest(self) -> str:
        """What appears before the next prompt, without what was typed."""
        self.child.expect(_PROMPT)
        shown = (self.child.before or "").replace("\r\n", "\n")
        return re.sub(r"^.*\n(?: *\.\.\.: .*\n)*", "", shown, count=1)


@pytest.fixture(scope="module")
def terminal(served: Running) -> Iterator[Terminal]:
    found = Terminal(served)
    yield found
    found.child.close(force=True)


def test_an_answer_is_printed_once_with_a_line_end(terminal: Terminal) -> None:
    shown = terminal("%%aphrodite --chat -t 0 --into answer", "What is 39 + 48?")
    assert shown.count("87") == 1 and "87\n" in shown, shown
    assert "'87'" in terminal("answer.text")


def test_text_appears_as_it_comes_and_ctrl_c_keeps_it(terminal: Terminal) -> None:
    terminal.start("%%aphrodite --max-tokens none --ignore-eos -s 1 --into story", "Once upon a time")
    terminal.child.expect("[a-z]+ [a-z]+ [a-z]+ [a-z]+ [a-z]+ [a-z]+")  # some words, long before the end
    time.sleep(0.2)
    terminal.child.sendintr()
    started = time.monotonic()
    terminal.rest()
    assert "abort" in terminal("story.finish_reason")
    assert time.monotonic() - started < 2
    assert "True" in terminal("len(story.text) > 20 and story.text == ''.join(story.texts)")


def test_a_line_s_value_is_shown_once(terminal: Terminal) -> None:
    shown = terminal('%aphrodite generate "Once upon a time" --max-tokens 6 -s 1')
    assert shown.count("Out[") == 1
    assert "Traceback" not in terminal("%aphrodite sttus") and "did you mean status" in terminal("%aphrodite sttus")


def test_several_sequences_are_printed_one_after_the_other(terminal: Terminal) -> None:
    shown = terminal("%%aphrodite --max-tokens 6 -s 1 -n 2 --into two", "Once upon a time")
    first, second = eval(terminal("two.texts").split("]: ", 1)[1].replace("\n", ""))
    assert f"[0] {first}\n[1] {second}\n" in shown


def test_there_is_no_playground_in_a_terminal(terminal: Terminal) -> None:
    assert "play: needs a notebook" in terminal("%aphrodite play")
    assert "http://127.0.0.1" in terminal("%aphrodite ui")
