"""`%aphrodite attach`: use the service that runs on this machine."""

from __future__ import annotations

from aphrodite.magics.command import Command, no_arguments
from aphrodite.magics.notebook import Notebook


def run(notebook: Notebook, arguments: object) -> None:
    client = notebook.connect()
    print(f"attached to {client.url}: {', '.join(model.id for model in client.models()) or 'no model is loaded'}")


COMMAND = Command("attach", "Use the service that runs on this machine.", no_arguments, run)
