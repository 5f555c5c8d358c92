"""`up`, `attach`, `down` from outside: a service process of its own that outlives the shell and the notebook kernel."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from aphrodite.service import runtime
from aphrodite.service.runtime import Connection
from aphrodite.service.settings import ServiceSettings
from aphrodite_engine.errors import AphroditeError

_POLL_SECONDS = 0.05
_LOG_LINES_SHOWN = 5


class ServiceError(AphroditeError):
    """The service could not be started, found or ended."""


@dataclass(frozen=True)
class Started:
    """A running service, and whether this call started it."""

    connection: Connection
    is_new: bool


def up(
    settings: ServiceSettings, *, timeout: float = 600.0, report: Callable[[Connection], None] | None = None
) -> Started:
    """Start a service in the background, or attach to the one that already runs on this port.

    Args:
        timeout: seconds to wait until its models are loaded.
        report: called now and then while they load.

    Raises:
        ServiceError: the port is taken by somebody else, a model was refused, or it took too long.
    """
    running = runtime.read_connection(settings.port) if settings.port else None
    if running is not None:
        return Started(running, is_new=False)
    process = _spawn(settings)
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        connection = _connection_of(process.pid, settings.port)
        if process.poll() is not None:
            raise ServiceError(_reason(process, settings.port))
        if connection is not None:
            if is_ready(connection):
                return Started(connection, is_new=True)
            if report:
                report(connection)
        time.sleep(_POLL_SECONDS)
    process.terminate()
    process.wait()
    raise ServiceError(f"the service was not ready after {timeout:.0f} s and was ended")


def attach(port: int) -> Connection:
    """The running service on this port.

    Raises:
        ServiceError: there is none.
    """
    connection = runtime.read_connection(port)
    if connection is None:
        others = ", ".join(map(str, runtime.running_ports()))
        hint = f"; one runs on port {others}" if others else ""
        raise ServiceError(f"no service runs on port {port}{hint}; start one with `aphrodite up`")
    return connection


def down(port: int, *, timeout: float = 60.0) -> None:
    """End the service on this port: it finishes what it is answering first.

    Raises:
        ServiceError: there is none, or it did not end in time.
    """
    connection = attach(port)
    os.kill(connection.pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout
    while connection.is_alive:
        if time.monotonic() > deadline:
            raise ServiceError(f"the service (process {connection.pid}) has not ended after {timeout:.0f} s")
        _reap(connection.pid)
        time.sleep(_POLL_SECONDS)


def is_ready(connection: Connection) -> bool:
    """Whether /health answers 200."""
    import http.client

    host = connection.url.removeprefix("http://").rpartition(":")[0]
    client = http.client.HTTPConnection(host.strip("[]"), connection.port, timeout=5)
    try:
        client.request("GET", "/health")
        return client.getresponse().status == 200
    except OSError:
        return False
    finally:
        client.close()


def _spawn(settings: ServiceSettings) -> subprocess.Popen[bytes]:
    """A process of its own session, with its log as stdout and stderr; the settings go in over stdin."""
    log = os.open(runtime.log_file(settings.port), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "aphrodite.service"],
            stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    finally:
        os.close(log)
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
        pipe.write(msgspec.json.encode(settings))
    return process


def _connection_of(pid: int, port: int) -> Connection | None:
    ports = [port] if port else runtime.running_ports()
    found = (runtime.read_connection(candidate) for candidate in ports)
    return next((connection for connection in found if connection and connection.pid == pid), None)


def _reason(process: subprocess.Popen[bytes], port: int) -> str:
    """What the service said before it ended."""
    lines = runtime.log_file(port).read_text(errors="replace").splitlines()
    said = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    if said:
        return said[-1]
    tail = "\n".join(lines[-_LOG_LINES_SHOWN:])
    return f"the service ended with status {process.returncode}; its log ends with:\n{tail}"


def _reap(pid: int) -> None:
    """A service that this very process started stays a zombie until somebody asks for its status."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
