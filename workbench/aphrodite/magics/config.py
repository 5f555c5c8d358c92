"""`%aphrodite config`: every setting, and where it comes from."""

from __future__ import annotations

from aphrodite.magics.command import Command, no_arguments
from aphrodite.magics.notebook import Notebook
from aphrodite.magics.settings import KNOWN
from aphrodite.magics.table import Table


def run(notebook: Notebook, arguments: object) -> Table:
    rows = []
    for name, (_, meaning) in KNOWN.items():
        found = notebook.settings.find(name)
        rows.append({"setting": name, "value": found.value, "source": found.source, "meaning": meaning})
    return Table(rows)


COMMAND = Command("config", "Show every setting and where it comes from.", no_arguments, run)
