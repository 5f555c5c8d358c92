"""Which service a path means: `/2242/...` the one on that port, any other path the one that runs."""

from __future__ import annotations

import re
from dataclasses import dataclass

from aphrodite.service import runtime
from aphrodite.service.runtime import Connection

_PORT_FIRST = re.compile(rb"/(\d{1,5})(/.*|$)")


@dataclass(frozen=True)
class Destination:
    """Where a request goes.

    Attributes:
        connection: of the running service; None where none runs.
        prefix: what the path had in front of the service's own.
        path: in the service; empty if its slash is missing.
    """

    port: int
    connection: Connection | None
    prefix: bytes
    path: bytes


def destination(raw_path: bytes, usual_port: int) -> Destination:
    """What this path means.

    Args:
        usual_port: of a service that nobody has named; where none runs on it, another of this user's will do.
    """
    if named := _PORT_FIRST.fullmatch(raw_path):
        port = int(named[1])
        return Destination(port, runtime.read_connection(port), b"/" + named[1], named[2])
    port = usual_port
    if runtime.read_connection(port) is None:
        port = next(iter(runtime.running_ports()), port)
    return Destination(port, runtime.read_connection(port), b"", raw_path)
