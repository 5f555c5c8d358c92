"""A real JupyterLab in folders of its own, for tests."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from aphrodite_apps.cli.lab import jupyter_command, jupyter_environment
from tests.service.running import Running, free_port, wait_for

TOKEN = "let-me-in"


@dataclass(frozen=True)
class Jupyter:
    """A running Jupyter server.

    Attributes:
        url: with its base path, which ends in a slash.
        folder: where its notebooks lie.
        environment: what it was started with; a kernel of its own would have the same.
    """

    process: subprocess.Popen[bytes]
    url: str
    folder: Path
    environment: Mapping[str, str]

    def address(self, path: str) -> str:
        """Of something below the base path, for a browser: the token lets it in."""
        return f"{self.url}{path}{'&' if '?' in path else '?'}token={TOKEN}"

    def client(self, **headers: str) -> httpx2.Client:
        """A program that is logged in."""
        return httpx2.Client(base_url=self.url, headers={"authorization": f"token {TOKEN}", **headers}, timeout=60)


@contextlib.contextmanager
def jupyter(folder: Path, *flags: str, **environment: str) -> Iterator[Jupyter]:
    """Start JupyterLab as `aphrodite lab` does; end it and its kernels."""
    home = Path(tempfile.mkdtemp(prefix="jup-"))  # short: kernels and relays listen on Unix sockets
    own = {name: str(home / name.lower()) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")}
    told = {**jupyter_environment(), **own, "IPYTHONDIR": str(home / "ipython"), "JUPYTER_TOKEN": TOKEN, **environment}
    # Tests steer the page by its own commands: `window.jupyterapp`.
    ours = (f"--ServerApp.port={free_port()}", "--LabApp.expose_app_in_browser=True")
    with open(home / "log", "wb") as log:
        process = subprocess.Popen(
            [*jupyter_command(folder, no_browser=True), *ours, *flags],
            env=told, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        record = wait_for(lambda: _record(home, process), 60)
        yield Jupyter(process, record["url"], folder, told)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(home)


def beside(served: Running) -> dict[str, str]:
    """What Jupyter, its kernels and its tile find this service by."""
    return {
        "APHRODITE_RUNTIME_DIR": str(served.home / "run"),
        "APHRODITE_DATA_DIR": str(served.home / "data"),
        "APHRODITE_CONFIG_DIR": str(served.home / "config"),
        "APHRODITE_PORT": str(served.connection.port),
    }


def _record(home: Path, process: subprocess.Popen[bytes]) -> dict[str, Any] | None:
    if process.poll() is not None:
        raise RuntimeError(f"JupyterLab ended with {process.returncode}: {(home / 'log').read_text()[-2000:]}")
    file = home / "jupyter_runtime_dir" / f"jpserver-{process.pid}.json"
    with contextlib.suppress(OSError, ValueError):  # not there yet, or not all of it
        return json.loads(file.read_text())
    return None
