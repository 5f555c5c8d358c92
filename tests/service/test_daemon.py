"""`up`, `attach`, `down` as a shell and a notebook call them."""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aphrodite.service import daemon, runtime
from aphrodite.service.daemon import ServiceError
from aphrodite.service.settings import ModelSettings, ServiceSettings
from tests.service import faulty_worker
from tests.service.processes import alive, children, kill
from tests.service.running import DEMO, free_port, wait_for


def quick(port: int = 0, fault: str = "loads-well", **more: Any) -> ServiceSettings:
    """A service whose engine process holds no model, and so is there at once."""
    return ServiceSettings(models=(ModelSettings(fault),), port=port, worker_command=faulty_worker.COMMAND, **more)


def files(home: Path) -> list[str]:
    return sorted(str(file.relative_to(home)) for file in (home / "aphrodite").rglob("*") if not file.is_dir())


def test_up_starts_once_then_attaches_and_down_leaves_only_the_log(home: Path) -> None:
    first = daemon.up(quick())
    port = first.connection.port
    second = daemon.up(quick(port))
    assert (first.is_new, second.is_new) == (True, False)
    assert first.connection == second.connection == daemon.attach(port)
    assert runtime.running_ports() == [port]
    engines = children(first.connection.pid)
    assert len(engines) == 1
    daemon.down(port)
    assert not any(alive(pid) for pid in (first.connection.pid, *engines))
    assert files(home) == [f"aphrodite/{port}/service.log"]
    with pytest.raises(ServiceError, match=f"no service runs on port {port}; start one with `aphrodite up`"):
        daemon.attach(port)


def test_the_files_are_for_their_owner_only(home: Path) -> None:
    connection = daemon.up(quick()).connection
    folder = runtime.folder_of(connection.port)
    assert [oct(path.stat().st_mode & 0o777) for path in (folder.parent, folder)] == ["0o700", "0o700"]
    assert {oct(path.stat().st_mode & 0o777) for path in folder.iterdir()} == {"0o600"}
    listed = subprocess.run(["ps", "-ww", "-o", "args=", "-p", str(connection.pid)], capture_output=True, text=True)
    assert connection.admin_key not in listed.stdout


def test_several_that_start_it_at_once_get_the_same_service(home: Path) -> None:
    port, found = free_port(), []
    threads = [threading.Thread(target=lambda: found.append(daemon.up(quick(port)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(started.is_new for started in found) == [False, False, False, True]
    assert len({started.connection.pid for started in found}) == 1


def test_a_port_that_a_stranger_has_is_one_clear_line_and_nothing_is_left(home: Path) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        port = stranger.getsockname()[1]
        with pytest.raises(ServiceError, match=rf"^port {port} is in use by another program; .*--port N$"):
            daemon.up(quick(port))
    assert files(home) == []


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("dies-while-loading", r"the engine process was ended by SIGKILL while it loaded the model; the log may say"),
        ("is-stopped-while-loading", r"the engine process was ended by SIGKILL while it loaded the model"),
    ],
)
def test_an_engine_process_that_dies_while_loading_is_a_refusal(home: Path, fault: str, reason: str) -> None:
    with pytest.raises(ServiceError, match=reason):
        daemon.up(quick(fault=fault))
    assert files(home) == []
    assert runtime.running_ports() == []


@pytest.mark.slow
def test_a_refused_model_is_one_line_and_nothing_is_left(home: Path, tmp_path: Path) -> None:
    with pytest.raises(ServiceError) as caught:
        daemon.up(ServiceSettings(models=(ModelSettings(str(tmp_path)),), port=0))
    assert str(caught.value) == f"{tmp_path}: config.json is missing"
    assert files(home) == []


def test_an_interrupt_while_it_starts_ends_it(home: Path) -> None:
    port = free_port()
    seen: list[int] = []

    def interrupt(status: Any) -> None:
        seen.append(status["pid"])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        daemon.up(ServiceSettings(models=(DEMO,), port=port), report=interrupt)
    assert not alive(seen[0])
    assert runtime.read_connection(port) is None


def test_progress_is_reported_while_a_model_loads(home: Path) -> None:
    seen: list[Any] = []
    connection = daemon.up(ServiceSettings(models=(DEMO,), port=0), report=seen.append).connection
    states = [model["state"] for status in seen for model in status["models"]]
    assert states[0] == "starting"
    assert set(states) <= {"starting", "ready"}, "the last report may be of the moment before it answers"
    status = daemon.ask(connection, "GET", "/admin/status")
    done, total = status["models"][0]["progress"]
    assert done == total > 10**6


# ---- files of services that are gone


def test_a_service_that_was_killed_is_known_to_be_gone_and_started_again(home: Path) -> None:
    connection = daemon.up(quick()).connection
    kill(connection.pid)
    wait_for(lambda: not connection.is_alive, 5)
    assert runtime.read_connection(connection.port) is None
    with pytest.raises(ServiceError, match="ended without saying so"):
        daemon.attach(connection.port)
    again = daemon.up(quick(connection.port))  # its engine process has not kept the port
    assert again.is_new
    assert again.connection.pid != connection.pid


def test_a_pid_that_another_program_has_now_is_not_the_service(home: Path) -> None:
    port = free_port()
    left = runtime.Connection(os.getpid(), runtime.start_ticks(os.getpid()) - 1, "127.0.0.1", port, "key", "0")
    runtime.write_connection(left)
    assert runtime.read_connection(port) is None
    with pytest.raises(ServiceError):
        daemon.down(port)  # and this process still runs


@pytest.mark.parametrize("content", [b"", b"{", b'{"pid": 1}', b"\xff\x00"])
def test_a_damaged_connection_file_is_no_service(home: Path, content: bytes) -> None:
    port = free_port()
    runtime.runtime_directory(port)
    runtime.connection_file(port).write_bytes(content)
    assert runtime.running_ports() == []
    started = daemon.up(quick(port))
    assert started.is_new


def test_a_runtime_folder_that_is_a_link_is_refused(home: Path, tmp_path: Path) -> None:
    (home / "aphrodite").symlink_to(tmp_path)
    with pytest.raises(ServiceError, match="is not a folder of this user's"):
        daemon.up(quick())


def test_an_engine_socket_that_a_killed_service_left_is_removed(home: Path) -> None:
    port = free_port()
    stale = runtime.runtime_directory(port) / "engine-1-1.sock"
    stale.touch()
    daemon.up(quick(port))
    assert not stale.exists()


# ---- what it outlives


@pytest.mark.slow
def test_it_outlives_the_shell_that_started_it(home: Path) -> None:
    port = free_port()
    settings = msgspec.json.encode(ServiceSettings(models=(DEMO,), port=port)).decode()
    code = (
        "import msgspec, sys, time\nfrom aphrodite.service import daemon\n"
        "from aphrodite.service.settings import ServiceSettings\n"
        "daemon.up(msgspec.json.decode(sys.argv[1], type=ServiceSettings)); time.sleep(60)"
    )
    shell, screen = pty.fork()
    if shell == 0:  # a session of its own with a terminal, as a shell has it
        os.execv(sys.executable, [sys.executable, "-c", code, settings])
    connection = wait_for(lambda: runtime.read_connection(port), 30)
    wait_for(lambda: not daemon.ask(connection, "GET", "/admin/status")["starting"], 60)
    os.close(screen)  # the terminal is closed: the kernel sends SIGHUP to the session
    wait_for(lambda: os.waitpid(shell, os.WNOHANG) != (0, 0), 10)
    os.kill(connection.pid, signal.SIGHUP)
    for engine in children(connection.pid):
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            os.kill(engine, number)
    time.sleep(0.5)
    status = daemon.ask(connection, "GET", "/admin/status")
    assert [(model["state"], model["restarts"]) for model in status["models"]] == [("ready", 0)]
