"""How the service's commands reach the running service: over its connection file and its admin routes."""

from __future__ import annotations

import argparse
import http.client
import json
from typing import Any

from aphrodite.service.daemon import ServiceError, attach
from aphrodite.service.settings import DEFAULT_PORT

_TIMEOUT_SECONDS = 600.0


def add_port_flag(parser: argparse.ArgumentParser) -> None:
    """--port."""
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, metavar="N", help=f"(default: {DEFAULT_PORT})")


class AdminClient:
    """The admin routes of one service.

    Raises:
        ServiceError: the service refused; its message.
    """

    def __init__(self, port: int) -> None:
        self.connection = attach(port)
        host = self.connection.url.removeprefix("http://").rpartition(":")[0].strip("[]")
        self._http = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_SECONDS)

    def get(self, path: str) -> dict[str, Any]:
        return self._ask("GET", path)

    def post(self, path: str, **fields: Any) -> dict[str, Any]:
        return self._ask("POST", path, fields)

    def delete(self, path: str) -> dict[str, Any]:
        return self._ask("DELETE", path)

    def _ask(self, method: str, path: str, fields: dict[str, Any] | None = None) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {self.connection.admin_key}"}
        body = None
        if fields is not None:
            headers["content-type"], body = "application/json", json.dumps(fields)
        try:
            self._http.request(method, path, body, headers)
            answer = self._http.getresponse()
            found = json.loads(answer.read() or b"{}")
        except (OSError, ValueError) as error:
            raise ServiceError(f"the service on port {self.connection.port} did not answer: {error}") from error
        if answer.status >= 400:
            raise ServiceError(found.get("error", {}).get("message", f"status {answer.status}"))
        return found

    def __enter__(self) -> AdminClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()


def admin(port: int) -> AdminClient:
    """A client of the service on this port."""
    return AdminClient(port)
