"""A service, and an IPython shell that finds it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

from aphrodite.display.generation import Generation
from tests.service.running import Running, running


@pytest.fixture(scope="session")
def served() -> Iterator[Running]:
    with running() as found:
        yield found


class Cells:
    """Runs cells and says what they printed and gave."""

    def __init__(self) -> None:
        # Without its history, which is a database that outlives the folders of a test.
        self.shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
        self.shell.run_line_magic("load_ext", "aphrodite")

    def __call__(self, code: str) -> tuple[object, str]:
        """The value of the cell, and everything it showed as text.

        Raises:
            Exception: what the cell raised.
        """
        with capture_output() as shown:
            done = self.shell.run_cell(code)
        done.raise_error()
        texts = [output.data.get("text/plain", "") for output in shown.outputs]
        return done.result, "\n".join([shown.stdout, *texts])


def value(cells: Cells, code: str) -> Any:
    """What a cell gives."""
    return cells(code)[0]


def tell(cells: Cells, flags: str = "") -> Generation:
    """The same story every time, which the shell knows as `story`."""
    cells(f'%aphrodite generate "Once upon a time" --seed 13 -t 1.5 --min-p 0.1 --max-tokens 24 {flags} --into story')
    found = value(cells, "story")
    assert isinstance(found, Generation)
    return found


@pytest.fixture(scope="session")
def cells(served: Running) -> Iterator[Cells]:
    """A fresh IPython with the extension, in folders of the service's own."""
    before = dict(os.environ)
    os.environ.update(
        APHRODITE_RUNTIME_DIR=str(served.home / "run"),
        APHRODITE_DATA_DIR=str(served.home / "data"),
        APHRODITE_CONFIG_DIR=str(served.home / "config"),
        IPYTHONDIR=str(served.home / "ipython"),
    )
    yield Cells()
    InteractiveShell.clear_instance()
    os.environ.clear()
    os.environ.update(before)
