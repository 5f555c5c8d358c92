"""`aphrodite load`: one more model in the running service."""

from __future__ import annotations

import argparse
import threading
import time
from typing import Any

from aphrodite.service.daemon import ServiceError
from aphrodite_apps.cli import terminal
from aphrodite_apps.cli.command import Command
from aphrodite_apps.cli.loading_line import LoadingLine
from aphrodite_apps.cli.served_model import add_served_model_flags, model_settings
from aphrodite_apps.cli.service_client import AdminClient, add_port_flag, admin

_POLL_SECONDS = 0.1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a model folder, a Hugging Face id, or demo, the bundled one")
    add_port_flag(parser)
    add_served_model_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    settings = model_settings(arguments.model, arguments)
    with admin(arguments.port) as client:
        asking = _Asking(client, model=settings.model, names=settings.names, engine=settings.engine)
        model = asking.answer()
    print(f"{', '.join(model['names'])}: {model['state']}")
    for line in model["plan_text"].splitlines()[1:]:
        print("  " + terminal.paint(line, "dim"))
    return 0


class _Asking:
    """Asks in a thread, and meanwhile shows how far loading is. Leaving ends the request, and with it the loading."""

    def __init__(self, client: AdminClient, **fields: Any) -> None:
        self._client, self._fields = client, fields
        self._found: dict[str, Any] | None = None
        self._error: ServiceError | None = None
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def answer(self) -> dict[str, Any]:
        """The loaded model.

        Raises:
            ServiceError: it was refused.
        """
        self._thread.start()
        with LoadingLine() as line:
            while self._thread.is_alive():
                line(self._client.get("/admin/status"))
                time.sleep(_POLL_SECONDS)
        if self._found is None:
            raise self._error or ServiceError("the service did not answer")
        return self._found

    def _ask(self) -> None:
        try:
            self._found = self._client.post("/admin/load", **self._fields)
        except ServiceError as error:
            self._error = error


COMMAND = Command("load", "load one more model into the running service", add_arguments, run, "MODEL [flags]")
