"""`%aphrodite status`: models, memory, queue, who is connected."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from aphrodite.magics.command import Command, no_arguments
from aphrodite.magics.notebook import Notebook
from aphrodite.magics.table import Table

if TYPE_CHECKING:  # pandas takes half a second that only `.df` pays
    import pandas as pd


def run(notebook: Notebook, arguments: object) -> Status:
    with notebook.admin() as client:
        return Status(client.status(), client.url)


class Status:
    """The service as it was when it was asked.

    Attributes:
        facts: as /admin/status tells them.
    """

    def __init__(self, facts: dict[str, Any], url: str) -> None:
        self.facts, self.url = facts, url

    @property
    def df(self) -> pd.DataFrame:
        """One row a model."""
        return self._table().df

    @property
    def users(self) -> list[str]:
        """Who is being answered now."""
        return [f"{key['name']} ({key['in_flight']})" for key in self.facts["keys"] if key["in_flight"]]

    def __repr__(self) -> str:
        return "\n".join([self._head(), *map(_line, self.facts["models"])])

    def _repr_html_(self) -> str:
        return f"<div>{escape(self._head())}</div>" + self._table()._repr_html_()

    def _table(self) -> Table:
        return Table([_row(model) for model in self.facts["models"]], "no model is loaded")

    def _head(self) -> str:
        connected = f"; connected now: {', '.join(self.users)}" if self.users else ""
        idle = "" if self.facts["models"] else "; no model is loaded"
        return f"Aphrodite {self.facts['version']} at {self.url}{idle}{connected}"


def _row(model: dict[str, Any]) -> dict[str, Any]:
    stats = model["stats"]
    return {
        "model": ", ".join(model["names"]),
        "state": model["state"],
        "running": stats["running"],
        "waiting": stats["waiting"],
        "kv_cache_used": _used(stats),
        "memory_mib": round(stats["resident_bytes"] / 2**20),
        "max_model_len": model["max_model_len"],
        "problem": model["problem"],
    }


def _used(stats: dict[str, Any]) -> str:
    return f"{100 * stats['kv_blocks_used'] / stats['kv_blocks'] if stats['kv_blocks'] else 0:.0f} %"


def _line(model: dict[str, Any]) -> str:
    row = _row(model)
    problem = f" ({row['problem']})" if row["problem"] else ""
    return (
        f"  {row['model']}: {row['state']}{problem}, {row['running']} running, {row['waiting']} waiting, "
        f"KV cache {row['kv_cache_used']} held, {row['memory_mib']} MiB"
    )


COMMAND = Command("status", "Show the service: models, memory, queue, who is connected.", no_arguments, run)
