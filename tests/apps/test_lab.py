"""`aphrodite lab`: JupyterLab beside the service; it ends, the service stays."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.apps.cli import CommandLine, start
from tests.browser.jupyter import TOKEN, beside
from tests.service.running import Running, free_port, running


@pytest.fixture(scope="module")
def served() -> Iterator[Running]:
    with running() as found:
        yield found


@pytest.fixture
def lab(served: Running, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    jupyter = {f"JUPYTER_{name}_DIR": str(tmp_path / name) for name in ("CONFIG", "DATA", "RUNTIME")}
    environment = {**os.environ, **beside(served), **jupyter, "JUPYTER_TOKEN": TOKEN, "JUPYTER_PORT": str(free_port())}
    environment.pop("DISPLAY", None)
    process = start("lab", str(tmp_path), env=environment)
    yield process
    if process.poll() is None:
        process.terminate()  # it takes JupyterLab along, which holds its output
    process.communicate(timeout=60)


def address(process: subprocess.Popen[str]) -> str:
    """What it prints as JupyterLab's address; it prints that it is ready right after."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("  jupyterlab "):
            return line.split()[1]
    raise AssertionError("it ended without an address")


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_jupyterlab_ends_and_the_service_stays(
    lab: subprocess.Popen[str], served: Running, end: signal.Signals
) -> None:
    found = address(lab)
    assert found.endswith(f"/lab?token={TOKEN}")
    assert httpx2.get(found).status_code == 200
    lab.send_signal(end)
    out, err = lab.communicate(timeout=60)
    assert (lab.returncode, err.count("Traceback")) == (0, 0)
    assert "JupyterLab has ended. The service stays" in out
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(found)
    with served.client() as client:
        assert client.get("/health").status_code == 200


def test_a_folder_that_is_not_there(aphrodite: CommandLine) -> None:
    done = aphrodite("lab", "no/such/folder")
    assert (done.code, done.err) == (2, "error: no/such/folder is not a folder\n")
