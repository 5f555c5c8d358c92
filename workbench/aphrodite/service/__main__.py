"""`python -m aphrodite.service [FD]`: the service process that `aphrodite up` starts.

Its settings come over stdin; FD is a listening socket that it inherits, without one it opens its own.
"""

from __future__ import annotations

import signal
import socket
import sys

import msgspec

from aphrodite.service import server
from aphrodite.service.runtime import ServiceError
from aphrodite.service.settings import ServiceSettings
from aphrodite.service.telemetry import logs


def main() -> int:
    """Read the settings, serve until told to end."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a terminal that closes must not take the service with it
    settings = msgspec.json.decode(sys.stdin.buffer.read(), type=ServiceSettings)
    listener = _inherited(int(sys.argv[1])) if len(sys.argv) > 1 else None
    logs.configure()
    try:
        return server.run(settings, listener)
    except (OSError, ServiceError) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return server.EXIT_REFUSED


def _inherited(descriptor: int) -> socket.socket:
    listener = socket.socket(fileno=descriptor)
    listener.set_inheritable(False)  # an engine process that holds it too would keep the port after a kill -9 of ours
    return listener


if __name__ == "__main__":
    sys.exit(main())
