"""How the service's commands reach the running service: over its connection file and its admin routes."""

from __future__ import annotations

import argparse
import os
from typing import Any

from aphrodite.service.daemon import ask, attach
from aphrodite.service.settings import DEFAULT_PORT
from aphrodite_apps.cli.command import UsageError


def default_port() -> int:
    """APHRODITE_PORT, or 2242."""
    text = os.environ.get("APHRODITE_PORT", str(DEFAULT_PORT))
    if not text.isdigit() or int(text) > 65535:
        raise UsageError(f"APHRODITE_PORT={text!r} is not a port: a number from 0 to 65535")
    return int(text)


def add_port_flag(parser: argparse.ArgumentParser) -> None:
    """--port."""
    meaning = f"port of the service (default: APHRODITE_PORT, else {DEFAULT_PORT})"
    parser.add_argument("--port", type=int, default=default_port(), metavar="N", help=meaning)


def port_flag(port: int) -> str:
    """What a command needs to be typed with to reach the service on this port."""
    return "" if port == default_port() else f" --port {port}"


def add_name_argument(parser: argparse.ArgumentParser) -> None:
    """NAME, which may be left out where one model is served."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="a name of the model; not needed where there is one")


class AdminClient:
    """The admin routes of one service.

    Raises:
        ServiceError: there is no service, or it refused; its message.
    """

    def __init__(self, port: int) -> None:
        self.connection = attach(port)

    def get(self, path: str) -> dict[str, Any]:
        return ask(self.connection, "GET", path)

    def post(self, path: str, **fields: Any) -> dict[str, Any]:
        return ask(self.connection, "POST", path, fields)

    def delete(self, path: str) -> dict[str, Any]:
        return ask(self.connection, "DELETE", path)

    def named(self, name: str | None) -> str:
        """The name, or that of the only model.

        Raises:
            UsageError: there is more than one, or none.
        """
        if name is not None:
            return name
        names = [model["id"] for model in self.get("/admin/status")["models"]]
        if len(names) == 1:
            return names[0]
        raise UsageError(f"name a model; served: {', '.join(names)}" if names else "no model is loaded")

    def __enter__(self) -> AdminClient:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held between calls."""


def admin(port: int) -> AdminClient:
    """A client of the service on this port."""
    return AdminClient(port)
