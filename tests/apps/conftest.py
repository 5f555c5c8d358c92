"""The command line, as a fixture."""

from __future__ import annotations

import pytest

from tests.apps.cli import CommandLine


@pytest.fixture
def aphrodite(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """aphrodite("generate", "Once", ...) -> exit code, standard output, standard error."""
    return CommandLine(capsys, monkeypatch)
