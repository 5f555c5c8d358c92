"""Where the user's browser finds a service that runs beside this kernel, which may be far from that browser.

What is asked, in this order:

    VSCODE_PROXY_URI            code-server and its kin: an address with {{port}} in it
    JUPYTERHUB_SERVICE_PREFIX   JupyterHub: the path of the user's server; JUPYTERHUB_PUBLIC_URL has its host, where the
                                hub was told it
    JPY_PARENT_PID              a Jupyter server started this kernel: its own address, if it shows our tile
    (none)                      the browser is on this machine; VS Code forwards such addresses by itself

Through Jupyter the address is the tile's (`aphrodite_apps.jupyter`): only who may use that Jupyter server gets there.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

#: Name of the tile, and of its path below a Jupyter server's own.
TILE = "aphrodite"
_ASK_SECONDS = 2.0
_PLACEHOLDER = "{{port}}"


def browser_address(port: int, path: str = "/", scheme: str = "http") -> str:
    """The address to open in a browser.

    Args:
        port: of the service.
        path: in the service, as "/docs".
        scheme: that the service speaks; counts where the browser reaches it directly.

    Returns:
        An absolute address; only the path on the hub (`/user/dana/...`) where a hub does not tell its own address.
    """
    return _base(port, scheme) + path.removeprefix("/")


def notebook_link(port: int, path: str = "/", scheme: str = "http") -> str:
    """The same, for a link in a notebook's output.

    What comes from the notebook's own server is named without its host: it may be called differently at the other end
    of a tunnel.
    """
    base = _base(port, scheme)
    if base.endswith(f"/{TILE}/{port}/"):
        base = urlsplit(base).path
    return base + path.removeprefix("/")


def _base(port: int, scheme: str) -> str:
    return _vscode(port) or _through_jupyter(port) or f"{scheme}://127.0.0.1:{port}/"


def _vscode(port: int) -> str | None:
    template = os.environ.get("VSCODE_PROXY_URI", "")
    if not template.startswith(("http://", "https://")) or _PLACEHOLDER not in template:
        return None  # it may also be a path relative to the editor's page, which nobody can open from here
    return template.replace(_PLACEHOLDER, str(port)).rstrip("/") + "/"


def _through_jupyter(port: int) -> str | None:
    base = _hub() or _jupyter()
    return f"{base}{TILE}/{port}/" if base else None


def _hub() -> str | None:
    prefix = os.environ.get("JUPYTERHUB_SERVICE_PREFIX")
    if not prefix:
        return None
    return urljoin(os.environ.get("JUPYTERHUB_PUBLIC_URL", ""), f"/{prefix.strip('/')}/".replace("//", "/"))


def _jupyter() -> str | None:
    server = _parent_server()
    return server["url"] if server is not None and _shows_tile(server) else None


def _parent_server() -> Mapping[str, Any] | None:
    """What the Jupyter server that started this kernel has written about itself."""
    pid = os.environ.get("JPY_PARENT_PID", "")
    if not pid.isdigit():
        return None
    from jupyter_core.paths import jupyter_runtime_dir

    try:
        return json.loads((Path(jupyter_runtime_dir()) / f"jpserver-{pid}.json").read_text())
    except (OSError, ValueError):
        return None  # something else that starts kernels: nbconvert, a test


def _shows_tile(server: Mapping[str, Any]) -> bool:
    """Whether this Jupyter server has our tile; it may be installed apart from the kernel's packages."""
    try:
        with contextlib.closing(_connection(server)) as connection:
            path = server["base_url"] + "server-proxy/servers-info"
            connection.request("GET", path, headers={"Authorization": f"token {server['token']}"})
            answer = connection.getresponse()
            tiles = json.loads(answer.read())["server_processes"] if answer.status == 200 else []
    except (OSError, http.client.HTTPException, ValueError, KeyError):
        return False
    return any(tile["name"] == TILE for tile in tiles)


def _connection(server: Mapping[str, Any]) -> http.client.HTTPConnection:
    url = urlsplit(server["url"])
    host = url.hostname or "localhost"
    if url.scheme != "https":
        return http.client.HTTPConnection(host, url.port, timeout=_ASK_SECONDS)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # this machine's, and often signed by itself
    return http.client.HTTPSConnection(host, url.port, timeout=_ASK_SECONDS, context=context)
