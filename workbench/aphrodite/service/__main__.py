"""`python -m aphrodite.service`: the service process that `aphrodite up` starts; its settings come over stdin."""

from __future__ import annotations

import sys

import msgspec

from aphrodite.service import logs, server
from aphrodite.service.settings import ServiceSettings


def main() -> int:
    """Read the settings, serve until told to end."""
    settings = msgspec.json.decode(sys.stdin.buffer.read(), type=ServiceSettings)
    logs.configure()
    try:
        return server.run(settings)
    except OSError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 1


if __name__ == "__main__":
    sys.exit(main())
