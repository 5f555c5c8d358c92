"""`%aphrodite models`: what is served."""

from __future__ import annotations

from typing import Any

from aphrodite.magics.command import Command, no_arguments
from aphrodite.magics.notebook import Notebook


def run(notebook: Notebook, arguments: object) -> Any:
    import pandas as pd

    rows = [{"model": m.id, "root": m.root, "max_model_len": m.max_model_len} for m in notebook.client().models()]
    return pd.DataFrame(rows)


COMMAND = Command("models", "Served names as a table.", no_arguments, run)
