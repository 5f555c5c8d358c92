"""`%aphrodite models`: what is served."""

from __future__ import annotations

from aphrodite.magics.command import Command, no_arguments
from aphrodite.magics.notebook import Notebook
from aphrodite.magics.table import Table


def run(notebook: Notebook, arguments: object) -> Table:
    rows = [{"model": m.id, "root": m.root, "max_model_len": m.max_model_len} for m in notebook.client().models()]
    return Table(rows, "no model is loaded; %aphrodite load MODEL loads one")


COMMAND = Command("models", "Served names as a table.", no_arguments, run)
