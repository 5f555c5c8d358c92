"""`up`, `attach`, `down` from outside: a service process of its own that outlives the shell and the notebook kernel."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import msgspec

from aphrodite.service import runtime
from aphrodite.service.access import exposure
from aphrodite.service.http.listener import PortInUse, listen
from aphrodite.service.runtime import Connection, ServiceError
from aphrodite.service.settings import ServiceSettings

__all__ = ["Connection", "ServiceError", "Started", "ask", "attach", "client", "down", "up"]

_POLL_SECONDS = 0.05
_ASK_SECONDS = 600.0
_STATUS_SECONDS = 10.0
_LOG_LINES_SHOWN = 5
#: How long a killed service may take to let go of its port.
_PORT_SECONDS = 2.0
#: Where the service finds the socket to listen on; 0, 1 and 2 are taken.
LISTENER_DESCRIPTOR = 3

Report = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class Started:
    """A running service, and whether this call started it."""

    connection: Connection
    is_new: bool


def up(settings: ServiceSettings, *, timeout: float = 600.0, report: Report | None = None) -> Started:
    """Start a service in the background, or attach to the one that already runs on this port.

    Args:
        settings: of a new service; port 0 is a new one on a port of the system's choice.
        timeout: seconds to wait until its models are loaded.
        report: called now and then while they load, with what /admin/status says.

    Raises:
        ServiceError: the port is taken by somebody else, a model was refused, or it took too long. Nothing is left.
        KeyboardInterrupt: a service that was still starting is ended.
    """
    deadline = time.monotonic() + timeout
    exposure.check(settings)
    if not settings.port:
        return _start(settings, deadline, report)
    with runtime.alone(settings.port, deadline):
        while (running := runtime.read_connection(settings.port)) is not None:
            status = _status(running)
            if status is not None and not status["starting"] and not status["draining"]:
                return Started(running, is_new=False)
            _pause(status, deadline, report)
        return _start(settings, deadline, report)


def attach(port: int) -> Connection:
    """The running service on this port.

    Raises:
        ServiceError: there is none.
    """
    connection = runtime.read_connection(port)
    if connection is not None:
        return connection
    gone = runtime.left_connection(port)
    if gone is not None:
        runtime.forget(port)
        raise ServiceError(
            f"the service on port {port} (process {gone.pid}) ended without saying so; `aphrodite logs --port {port}` "
            "shows its last words, `aphrodite up` starts it again"
        )
    others = ", ".join(map(str, runtime.running_ports()))
    hint = f"; one runs on port {others} (--port {others})" if others else ""
    raise ServiceError(f"no service runs on port {port}{hint}; start one with `aphrodite up`")


def down(port: int, *, timeout: float = 60.0, now: bool = False) -> None:
    """End the service on this port: it finishes what it is answering first.

    Args:
        now: do not wait for running requests; they end with an error.

    Raises:
        ServiceError: there is none, or it did not end in time.
    """
    connection = attach(port)
    deadline = time.monotonic() + timeout
    os.kill(connection.pid, signal.SIGTERM)
    if now:
        time.sleep(_POLL_SECONDS)  # two signals at once arrive as one
        os.kill(connection.pid, signal.SIGTERM)
    while connection.is_alive:
        if time.monotonic() > deadline:
            raise ServiceError(
                f"the service (process {connection.pid}) has not ended after {timeout:.0f} s; `kill -9 "
                f"{connection.pid}` ends it, its engines and every running request at once"
            )
        _has_ended(connection.pid)  # where it is our own child, its end is noticed only by asking
        time.sleep(_POLL_SECONDS)


def ask(
    connection: Connection,
    method: str,
    path: str,
    fields: Mapping[str, Any] | None = None,
    timeout: float | None = None,
) -> dict[str, Any]:
    """Call one of the service's own routes with its admin key.

    Raises:
        ServiceError: it refused, with its reason, or did not answer.
    """
    try:
        status, body = _answer(connection, method, path, fields, timeout or _ASK_SECONDS)
        found = json.loads(body or b"{}")
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ServiceError(f"the service on port {connection.port} did not answer: {error}") from error
    if status >= 400:
        raise ServiceError(found.get("error", {}).get("message", f"status {status}"))
    return found


def _answer(
    connection: Connection, method: str, path: str, fields: Mapping[str, Any] | None, timeout: float
) -> tuple[int, bytes]:
    headers = {"authorization": f"Bearer {connection.admin_key}", "content-type": "application/json"}
    with contextlib.closing(client(connection, timeout)) as http_client:
        http_client.request(method, path, None if fields is None else json.dumps(fields), headers)
        answer = http_client.getresponse()
        return answer.status, answer.read()


def client(connection: Connection, timeout: float) -> http.client.HTTPConnection:
    """A plain client of the service; over TLS it trusts the certificate that the service was started with."""
    host = urlsplit(connection.url).hostname or connection.host
    if not connection.certificate:
        return http.client.HTTPConnection(host, connection.port, timeout=timeout)
    context = ssl.create_default_context(cafile=connection.certificate)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # it may come from an authority that is not in the file
    context.check_hostname = False  # the certificate names what others call this machine, and it is this very one
    return http.client.HTTPSConnection(host, connection.port, timeout=timeout, context=context)


def _start(settings: ServiceSettings, deadline: float, report: Report | None) -> Started:
    with contextlib.closing(_listen(settings)) as listener:
        port = listener.getsockname()[1]
        pid = _spawn(msgspec.structs.replace(settings, port=port), listener)
    try:
        while True:
            connection = runtime.read_connection(port)
            if _has_ended(pid):
                raise ServiceError(_last_words(port))
            status = _status(connection) if connection is not None else None
            if connection is not None and status is not None and not status["starting"]:
                return Started(connection, is_new=True)
            _pause(status, deadline, report)
    except BaseException:
        if not _has_ended(pid):
            os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)
        raise


def _listen(settings: ServiceSettings) -> socket.socket:
    """A service that was killed a moment ago may still have its port: its threads end one after the other."""
    deadline = time.monotonic() + _PORT_SECONDS
    while True:
        try:
            return listen(settings.host, settings.port)
        except PortInUse:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.05)


def _has_ended(pid: int) -> bool:
    """Whether a process that this very one has started is gone; it stays a zombie until this is asked."""
    try:
        return os.waitpid(pid, os.WNOHANG) != (0, 0)
    except ChildProcessError:
        return True


def _status(connection: Connection) -> dict[str, Any] | None:
    """What it says of itself; None where it takes no calls: it is about to end, as its process will show."""
    try:
        return ask(connection, "GET", "/admin/status", timeout=_STATUS_SECONDS)
    except ServiceError as error:
        if isinstance(error.__cause__, ConnectionError | http.client.HTTPException):
            return None
        raise


def _pause(status: Mapping[str, Any] | None, deadline: float, report: Report | None) -> None:
    if time.monotonic() > deadline:
        raise ServiceError("the service was not ready in time")
    if status is not None and report is not None:
        report(status)
    time.sleep(_POLL_SECONDS)


def _spawn(settings: ServiceSettings, listener: socket.socket) -> int:
    """The pid of a process of its own session, with its log as stdout and stderr; the settings go in over stdin.

    Not subprocess: a Popen that nobody waits for complains when it is collected, and this process is to outlive us.
    """
    log, (reading, writing) = runtime.new_log(settings.port), os.pipe()
    places = {reading: 0, log: 1, listener.fileno(): LISTENER_DESCRIPTOR}
    # -P: a file of the folder we happen to be in must not stand in for a module.
    command = [sys.executable, "-P", "-m", "aphrodite.service", str(LISTENER_DESCRIPTOR)]
    try:
        pid = os.posix_spawn(
            sys.executable, command, os.environ, setsid=True, setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
            file_actions=[*((os.POSIX_SPAWN_DUP2, ours, theirs) for ours, theirs in places.items()),
                          (os.POSIX_SPAWN_DUP2, 1, 2)],
        )  # fmt: skip
    finally:
        os.close(log)
        os.close(reading)
    with contextlib.suppress(BrokenPipeError), open(writing, "wb") as pipe:
        pipe.write(msgspec.json.encode(settings))
    return pid


def _last_words(port: int) -> str:
    """Why the service ended before it was ready. A reason that it gave is all there is to know: its files go."""
    lines = runtime.log_file(port).read_text(errors="replace").splitlines()
    said = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    if said:
        runtime.remove(port)
        return said[-1]
    tail = "\n".join(lines[-_LOG_LINES_SHOWN:])
    return f"the service ended before it was ready; {runtime.log_file(port)} ends with:\n{tail}"
