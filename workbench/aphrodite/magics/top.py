"""`%aphrodite top`: what the service is doing, live; as a table where nothing can be live."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from aphrodite.display.load import Load, load_of
from aphrodite.magics.command import Command
from aphrodite.magics.notebook import Notebook

if TYPE_CHECKING:  # the client takes a moment to import that only the first request pays
    from aphrodite.client.client import Client
    from aphrodite.widgets.status_bar import StatusBar

#: Between the two looks of a table: what is counted "a second" needs two.
_SECONDS = 0.5
#: Where a notebook keeps its bar: a second one takes the place of the first.
_BAR = "_aphrodite_top"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--once", action="store_true", help="a table of this moment, which stays as it is")


def run(notebook: Notebook, arguments: argparse.Namespace) -> Load | StatusBar:
    with notebook.admin() as client:
        if arguments.once or notebook.is_terminal or notebook.settings.display != "rich":
            return _load(client)
        return _bar(notebook, client)


def _load(client: Client) -> Load:
    before, began = client.status(), time.monotonic()
    time.sleep(_SECONDS)
    return load_of(client.status(), before, time.monotonic() - began)


def _bar(notebook: Notebook, client: Client) -> StatusBar:
    from aphrodite.widgets.status_bar import StatusBar

    before = notebook.names.get(_BAR)
    if isinstance(before, StatusBar):
        before.close()
    bar = notebook.names[_BAR] = StatusBar(client)
    return bar


COMMAND = Command("top", "Watch tokens a second, queue and memory, live.", add_arguments, run)
