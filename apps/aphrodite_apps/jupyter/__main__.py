"""`python -m aphrodite_apps.jupyter SOCKET`: the relay between a Jupyter server and this user's service.

jupyter-server-proxy makes the socket's folder, which only this user may enter, and ends this process with its own.
"""

from __future__ import annotations

import sys

import uvicorn

from aphrodite_apps.cli.service_client import default_port
from aphrodite_apps.jupyter.relay import Relay

relay = Relay(default_port())
uvicorn.run(
    relay, uds=sys.argv[1], lifespan="off", ws="none", access_log=False, log_level="warning",
    date_header=False, server_header=False,
)  # fmt: skip
