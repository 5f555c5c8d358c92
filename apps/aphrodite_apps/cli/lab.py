"""`aphrodite lab`: the service and JupyterLab; when JupyterLab ends, the service stays."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aphrodite_apps.cli import terminal
from aphrodite_apps.cli.command import Command, UsageError
from aphrodite_apps.cli.loading_line import LoadingLine
from aphrodite_apps.cli.service_client import add_port_flag, port_flag
from aphrodite_apps.cli.up import show
from aphrodite_apps.jupyter import CONFIG
from aphrodite_engine.errors import AphroditeError

_START_SECONDS = 60.0
_END_SECONDS = 30.0
_POLL_SECONDS = 0.05
#: Nothing is asked of the network: no news, no look for updates, no catalogue of extensions. `yes` to "really end?"
#: because there is nobody at JupyterLab's own standard input.
QUIET = (
    "--LabApp.news_url=None",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.extension_manager=readonly",
    "--LabApp.log_level=WARN",
    "--ServerApp.log_level=WARN",
    "--ServerApp.answer_yes=True",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", nargs="?", default=".", metavar="FOLDER", help="of notebooks (default: this one)")
    add_port_flag(parser)
    parser.add_argument("--no-browser", action="store_true", help="only print the address")


def run(arguments: argparse.Namespace) -> int:
    from aphrodite.service import daemon
    from aphrodite.service.settings import ServiceSettings

    folder = Path(arguments.folder)
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder")
    with LoadingLine() as line:
        started = daemon.up(ServiceSettings(port=arguments.port), report=line)
    connection = started.connection
    status = daemon.ask(connection, "GET", "/admin/status")
    show(status, connection.url, "started" if started.is_new else "already running; attached")
    with _jupyter(folder, connection.port, arguments.no_browser) as process:
        print(f"  jupyterlab {_address(process)}")
        print(terminal.paint("  Ctrl-C ends JupyterLab; the service stays", "dim"), flush=True)
        process.wait()
    flag = port_flag(connection.port)
    print(f"\nJupyterLab has ended. The service stays: `aphrodite down{flag}` ends it.")
    return process.returncode


def jupyter_environment() -> dict[str, str]:
    """Ours, and JupyterLab's own question about news answered: this project asks nothing of the network."""
    before = os.environ.get("JUPYTER_CONFIG_PATH")
    paths = [before, str(CONFIG)] if before else [str(CONFIG)]
    return {**os.environ, "JUPYTER_CONFIG_PATH": os.pathsep.join(paths)}


def jupyter_command(folder: Path, no_browser: bool) -> list[str]:
    """JupyterLab on a folder, asking nothing of the network."""
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={folder.resolve()}", *QUIET]
    if no_browser or not _has_display():
        command.append("--no-browser")
    if os.geteuid() == 0:  # a container: there is nobody else to be
        command.append("--allow-root")
    return command


@contextlib.contextmanager
def _jupyter(folder: Path, port: int, no_browser: bool) -> Iterator[subprocess.Popen[bytes]]:
    """JupyterLab, ended in order by an interrupt, by SIGTERM and by the end of the terminal.

    In a session of its own: a Ctrl-C is for us, who pass it on.
    """
    # A token of ours: JupyterLab says nothing about one that it was given, and the address is told once.
    token = {"JUPYTER_TOKEN": secrets.token_hex(24)}
    environment = token | jupyter_environment() | {"APHRODITE_PORT": str(port)}
    process = subprocess.Popen(
        jupyter_command(folder, no_browser), stdin=subprocess.DEVNULL, env=environment, start_new_session=True
    )
    try:
        with contextlib.suppress(KeyboardInterrupt), _signals_interrupt():
            yield process
    finally:
        _end(process)


def _address(process: subprocess.Popen[bytes]) -> str:
    """Where JupyterLab is, with the token that lets its user in.

    Raises:
        AphroditeError: it did not start; it has said why.
    """
    from jupyter_core.paths import jupyter_runtime_dir

    record = Path(jupyter_runtime_dir()) / f"jpserver-{process.pid}.json"
    deadline = time.monotonic() + _START_SECONDS
    while (server := _read(record)) is None:
        if process.poll() is not None or time.monotonic() > deadline:
            raise AphroditeError("JupyterLab could not be started")
        time.sleep(_POLL_SECONDS)
    return f"{server['url']}lab" + (f"?token={server['token']}" if server["token"] else "")


def _read(record: Path) -> Mapping[str, Any] | None:
    try:
        return json.loads(record.read_text())
    except (OSError, ValueError):  # not there yet, or not all of it
        return None


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_END_SECONDS)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.kill()
        process.wait()


@contextlib.contextmanager
def _signals_interrupt() -> Iterator[None]:
    before = {name: signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGHUP)}
    for name, handler in before.items():
        if handler != signal.SIG_IGN:
            signal.signal(name, signal.default_int_handler)
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def _has_display() -> bool:
    """Whether a browser could open a window; a browser for terminals would take this one."""
    return sys.platform == "darwin" or any(name in os.environ for name in ("DISPLAY", "WAYLAND_DISPLAY"))


COMMAND = Command("lab", "start the service and JupyterLab; the service stays when it ends", add_arguments, run,
                  "[FOLDER] [flags]")  # fmt: skip
