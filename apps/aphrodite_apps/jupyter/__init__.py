"""The tile in JupyterLab's launcher, through jupyter-server-proxy's entry point `jupyter_serverproxy_servers`.

Jupyter's server imports this, so nothing else is imported here. It starts `python -m aphrodite_apps.jupyter` at the
first click, and asks every caller to be logged in to that Jupyter server.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

#: What JupyterLab is told under `aphrodite lab`, where its user has not said otherwise.
CONFIG = Path(__file__).with_name("config")
_START_SECONDS = 60  # of the small relay, not of a service


def server_process() -> dict[str, Any]:
    """How jupyter-server-proxy starts the relay, and what its tile looks like."""
    return {
        # -P: a file of the folder that Jupyter happens to be in must not stand in for a module.
        "command": [sys.executable, "-P", "-m", "aphrodite_apps.jupyter", "{unix_socket}"],
        "unix_socket": True,
        "timeout": _START_SECONDS,
        "new_browser_tab": False,
        "launcher_entry": {
            "title": "Aphrodite",
            "icon_path": str(Path(__file__).parents[1] / "dashboard" / "icon.svg"),
            "category": "Notebook",  # JupyterLab shows icons of this category and Console only
        },
    }
