"""`python -m aphrodite_apps.dashboard FD URL [CERTIFICATE]`: pages on a listening socket that it inherits.

It talks to the service at URL through the client, as whoever is at the page: every request that the service passes on
carries a token that speaks for its sender.
"""

from __future__ import annotations

import logging
import os
import socket
import sys

from aphrodite.service.engines.lifeline import die_with_the_service
from aphrodite.service.telemetry.logs import JsonLines


def main() -> None:
    """Serve until the service ends this process."""
    die_with_the_service()
    _configure_log()
    # Before Gradio is imported: it reads them once. Nothing is asked of other machines, and nothing told to them.
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    listener, url, certificate = socket.socket(fileno=int(sys.argv[1])), sys.argv[2], sys.argv[3:]
    # Not in a place that another user of this machine could have made before.
    os.environ["GRADIO_TEMP_DIR"] = os.path.join(os.path.dirname(listener.getsockname()), "page-files")
    from aphrodite_apps.dashboard import server

    server.run(listener, url, certificate[0] if certificate else None)


def _configure_log() -> None:
    """To the service's log, a line of JSON each."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(process="playground"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for chatty in ("httpx", "httpx2", "uvicorn"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.captureWarnings(True)


if __name__ == "__main__":
    main()
