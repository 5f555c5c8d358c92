"""A real service in a process of its own, with folders of its own, for tests."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx2
import msgspec

from aphrodite.service.runtime import Connection
from aphrodite.service.settings import ModelSettings, ServiceSettings

T = TypeVar("T")

#: Small, so that a dozen services fit a small machine.
DEMO = ModelSettings("demo", engine={"kv_cache_memory": 64 * 2**20})


@dataclass
class Running:
    """A service that a test started.

    Attributes:
        home: its runtime and data folders, and its log.
    """

    process: subprocess.Popen[bytes]
    connection: Connection
    home: Path

    @property
    def url(self) -> str:
        return self.connection.url

    @property
    def log(self) -> str:
        return (self.home / "log").read_text(errors="replace")

    @property
    def admin(self) -> dict[str, str]:
        """Headers that open the admin routes."""
        return {"authorization": f"Bearer {self.connection.admin_key}"}

    def client(self, **options: object) -> httpx2.Client:
        return httpx2.Client(base_url=self.url, timeout=60, **options)  # type: ignore[arg-type]

    def engine_pid(self, model: str = "demo") -> int:
        with self.client(headers=self.admin) as client:
            models = client.get("/admin/status").json()["models"]
        return next(m["pid"] for m in models if m["id"] == model)

    def terminate(self, timeout: float = 60) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)


@contextlib.contextmanager
def running(
    settings: ServiceSettings | None = None, under: Sequence[str] = (), **environment: str
) -> Iterator[Running]:
    """Start a service on a port of the system's choice; end it and everything it started.

    Args:
        under: a command that runs the service, such as prlimit.
    """
    settings = settings or ServiceSettings(models=(DEMO,))
    settings = msgspec.structs.replace(settings, port=settings.port if settings.port != 2242 else 0)
    home = Path(tempfile.mkdtemp(prefix="aph-"))  # short: Unix sockets have short paths
    folders = {"APHRODITE_RUNTIME_DIR": str(home / "run"), "APHRODITE_DATA_DIR": str(home / "data")}
    (home / "run").mkdir()
    with open(home / "log", "wb") as log:
        process = subprocess.Popen(
            [*under, sys.executable, "-m", "aphrodite.service"], stdin=subprocess.PIPE, stdout=log, stderr=log,
            env=os.environ | folders | environment, start_new_session=True,
        )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(msgspec.json.encode(settings))
    process.stdin.close()
    try:
        service = Running(process, wait_for(lambda: _connection(home, process), 60), home)
        wait_for(lambda: _is_ready(service), 120)
        yield service
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(home)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(question: Callable[[], T | None], seconds: float) -> T:
    """The first answer that is not None or False."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := question():
            return answer
        time.sleep(0.02)
    raise TimeoutError(f"still {question()!r} after {seconds} s")


def _connection(home: Path, process: subprocess.Popen[bytes]) -> Connection | None:
    if process.poll() is not None:
        raise RuntimeError(f"the service ended with {process.returncode}: {(home / 'log').read_text()[-2000:]}")
    files = list((home / "run" / "aphrodite").glob("*/service.json"))
    return msgspec.json.decode(files[0].read_bytes(), type=Connection) if files else None


def _is_ready(service: Running) -> bool:
    if service.process.poll() is not None:
        raise RuntimeError(f"the service ended with {service.process.returncode}: {service.log[-2000:]}")
    with service.client() as client:
        return client.get("/health").status_code == 200
