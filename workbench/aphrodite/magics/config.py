"""`%aphrodite config`: every setting, and where it comes from."""

from __future__ import annotations

from typing import Any

from aphrodite.magics.command import Command, no_arguments
from aphrodite.magics.notebook import Notebook
from aphrodite.magics.settings import KNOWN


def run(notebook: Notebook, arguments: object) -> Any:
    import pandas as pd

    rows = []
    for name, (_, meaning) in KNOWN.items():
        found = notebook.settings.find(name)
        rows.append({"setting": name, "value": found.value, "source": found.source, "meaning": meaning})
    return pd.DataFrame(rows).set_index("setting")


COMMAND = Command("config", "Show every setting and where it comes from.", no_arguments, run)
