"""`%aphrodite status`: models, memory, queue."""

from __future__ import annotations

from typing import Any

from aphrodite.magics.command import Command, no_arguments
from aphrodite.magics.notebook import Notebook


def run(notebook: Notebook, arguments: object) -> Status:
    return Status(notebook.client().status())


class Status:
    """The service as it was when it was asked.

    Attributes:
        facts: as /admin/status tells them.
    """

    def __init__(self, facts: dict[str, Any]) -> None:
        self.facts = facts

    def __repr__(self) -> str:
        return "\n".join(["Aphrodite " + self.facts["version"], *map(_line, self.facts["models"])])


def _line(model: dict[str, Any]) -> str:
    stats = model["stats"]
    used = 100 * stats["kv_blocks_used"] / stats["kv_blocks"] if stats["kv_blocks"] else 0
    return (
        f"  {', '.join(model['names'])}: {model['state']}, {stats['running']} running, {stats['waiting']} waiting, "
        f"KV cache {used:.0f} % held, {stats['resident_bytes'] / 2**20:.0f} MiB"
    )


COMMAND = Command("status", "Show the service: models, memory, queue.", no_arguments, run)
