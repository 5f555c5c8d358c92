"""Running the command line: in this process where that is enough, as a process where signals and pipes matter."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from dataclasses import dataclass

import pytest

from aphrodite_apps.cli import main


@dataclass(frozen=True)
class Done:
    """What one command line left behind."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class CommandLine:
    """Calls main() and collects what it printed."""

    capture: pytest.CaptureFixture[str]
    patch: pytest.MonkeyPatch

    def __call__(self, *argv: str, stdin: str = "") -> Done:
        self.patch.setattr("sys.stdin", io.StringIO(stdin))
        self.capture.readouterr()
        code = main(argv)
        printed = self.capture.readouterr()
        return Done(code, printed.out, printed.err)


def start(*argv: str, **options: object) -> subprocess.Popen[str]:
    """`aphrodite` as a process of its own, its streams as pipes."""
    settings: dict[str, object] = {
        "stdin": subprocess.PIPE,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
        "env": {**os.environ, "PYTHONUNBUFFERED": "1"},
    }
    return subprocess.Popen([sys.executable, "-m", "aphrodite_apps.cli", *argv], **(settings | options))  # type: ignore[call-overload]
