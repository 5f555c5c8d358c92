"""up, status, logs, load, unload, sleep, wake, down, and the tour over them."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from aphrodite.service import daemon, runtime
from aphrodite_apps.cli.logs import _sentence
from tests.apps.cli import CommandLine, start

SMALL = ("--kv-cache-memory", "32MiB")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """Folders and a port of this file's own; services that a test leaves are ended."""
    with TemporaryDirectory(prefix="aph-") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("APHRODITE_RUNTIME_DIR", folder)
        patch.setenv("APHRODITE_DATA_DIR", folder + "/data")
        patch.setenv("APHRODITE_PORT", str(free_port()))
        yield Path(folder)
        for port in runtime.running_ports():
            daemon.down(port, now=True)


@pytest.fixture
def service(home: Path, aphrodite: CommandLine) -> int:
    """The bundled model, served on the port that commands use by default."""
    port = int(os.environ["APHRODITE_PORT"])
    if runtime.read_connection(port) is None:
        assert aphrodite("up", *SMALL, "--served-model-name", "demo", "--aliases", "fox,pip").code == 0
    return port


def test_up_attaches_and_says_what_runs(service: int, aphrodite: CommandLine) -> None:
    done = aphrodite("up")
    assert (done.code, done.err) == (0, "")
    assert "already running; attached" in done.out
    assert "demo, fox, pip (ready)" in done.out
    assert "weights" in done.out and "KV cache" in done.out
    assert f"http://127.0.0.1:{service}/v1" in done.out
    assert "note" not in done.out


def test_up_says_plainly_what_it_did_not_change(service: int, aphrodite: CommandLine, tmp_path: Path) -> None:
    other = aphrodite("up", str(tmp_path))
    assert other.code == 0
    assert f"it serves demo, not {tmp_path}: `aphrodite load {tmp_path}`" in other.out
    setting = aphrodite("up", "demo", "--dtype", "bfloat16", "--served-model-name", "wolf")
    assert "demo was loaded without dtype=bfloat16, wolf: `aphrodite unload demo`" in setting.out
    host = aphrodite("up", "--host", "127.0.0.2")
    assert "it listens on 127.0.0.1, not 127.0.0.2" in host.out


def test_status_for_people_and_for_programs(service: int, aphrodite: CommandLine) -> None:
    shown = aphrodite("status").out
    assert f"http://127.0.0.1:{service}" in shown
    assert "demo, fox, pip: ready" in shown
    assert "0 running, 0 waiting, KV cache 0 % held" in shown
    found = json.loads(aphrodite("status", "--json").out)
    assert found["models"][0]["names"] == ["demo", "fox", "pip"]
    assert not found["starting"] and not found["draining"]


@pytest.mark.slow
def test_models_are_loaded_put_to_sleep_woken_and_unloaded(service: int, aphrodite: CommandLine) -> None:
    loaded = aphrodite("load", "demo", "--served-model-name", "second", *SMALL)
    assert (loaded.code, loaded.err) == (0, "")
    assert loaded.out.startswith("second: ready")
    assert "32.0 MiB" in loaded.out
    unclear = aphrodite("sleep")
    assert (unclear.code, unclear.err) == (2, "error: name a model; served: demo, second\n")
    assert aphrodite("sleep", "second").out.startswith("second is asleep")
    assert "second: asleep" in aphrodite("status").out
    assert aphrodite("wake", "second").out == "second is ready\n"
    assert aphrodite("unload", "second").code == 0
    gone = aphrodite("unload", "second")
    assert (gone.code, gone.out) == (1, "")
    assert gone.err == "error: the model 'second' does not exist; served here: demo, fox, pip\n"


@pytest.mark.slow
def test_a_model_that_is_refused_is_one_line(service: int, aphrodite: CommandLine, tmp_path: Path) -> None:
    refused = aphrodite("load", str(tmp_path))
    assert (refused.code, refused.out) == (1, "")
    assert refused.err == f"error: {tmp_path}: config.json is missing\n"


@pytest.mark.slow
def test_up_with_a_refused_model_is_one_line_and_leaves_nothing(
    home: Path, aphrodite: CommandLine, tmp_path: Path
) -> None:
    port = free_port()
    refused = aphrodite("up", str(tmp_path), "--port", str(port))
    assert (refused.code, refused.out) == (1, "")
    assert refused.err == f"error: {tmp_path}: config.json is missing\n"
    assert not runtime.folder_of(port).exists()
    assert port not in runtime.running_ports()


def test_logs_are_lines_of_json_for_a_program(service: int, aphrodite: CommandLine) -> None:
    done = aphrodite("logs", "-n", "2")
    assert len(done.out.splitlines()) == 2
    assert all({"time", "level", "message"} <= set(json.loads(line)) for line in done.out.splitlines())
    nowhere = aphrodite("logs", "--port", str(free_port()))
    assert nowhere.code == 1
    assert "no service has written a log on port" in nowhere.err


def test_logs_on_a_terminal_obey_nothing_that_a_request_smuggled_in() -> None:
    line = {"time": "2026-01-02T03:04:05.678Z", "level": "info", "message": "GET /\x1b]0;owned\x07", "key": "\x1b[31m"}
    shown = _sentence(json.dumps(line))
    assert shown.startswith("03:04:05 info")
    assert "\x1b" not in shown and "\x07" not in shown
    assert _sentence("not JSON \x1b[2J\n") == "not JSON \\x1b[2J\n"


@pytest.mark.parametrize("command", ["status", "down", "sleep", "wake", "logs"])
def test_without_a_service_a_command_is_one_line(home: Path, aphrodite: CommandLine, command: str) -> None:
    done = aphrodite(command, "--port", str(free_port()))
    assert (done.code, done.out) == (1, "")
    assert len(done.err.splitlines()) == 1


def test_a_port_that_is_none_is_a_mistake_of_the_command_line(
    aphrodite: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert aphrodite("up", "--port", "70000").code == 2
    monkeypatch.setenv("APHRODITE_PORT", "many")
    assert aphrodite("status").err.startswith("error: APHRODITE_PORT='many' is not a port")


# ---- the tour


@pytest.mark.slow
def test_the_tour_answers_twice_the_same_over_the_endpoint(service: int, aphrodite: CommandLine) -> None:
    done = aphrodite("tour")
    assert (done.code, done.err) == (0, "")
    assert "tokens are the same" in done.out
    assert "\033[" not in done.out
    assert f"http://127.0.0.1:{service}/" in done.out
    assert "aphrodite down" in done.out
    if shutil.which("curl"):
        pasted = done.out[done.out.index("curl -N") :].partition("\n  Python")[0]
        said = subprocess.run(["bash", "-c", pasted], capture_output=True, text=True, timeout=60).stdout
        assert said.endswith("data: [DONE]\n\n")


# ---- processes of their own


@pytest.mark.slow
def test_up_on_a_terminal_shows_what_it_waits_for(home: Path) -> None:
    port = free_port()
    screen, theirs = pty.openpty()
    command = [sys.executable, "-m", "aphrodite_apps.cli", "up", *SMALL, "--port", str(port)]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = b""
    with open(screen, "rb", buffering=0) as terminal, contextlib.suppress(OSError):  # how Linux says it is closed
        while True:
            seen += terminal.read(4096)
    assert process.wait(30) == 0
    assert b"demo: starting its engine" in seen
    assert b"demo (ready)" in seen
    daemon.down(port)


@pytest.mark.slow
def test_logs_are_followed_until_the_service_ends(home: Path) -> None:
    port = free_port()
    upper = start("up", *SMALL, "--port", str(port))
    assert "started" in upper.communicate(timeout=120)[0]
    follower = start("logs", "-f", "--port", str(port))
    time.sleep(1)
    daemon.down(port)
    out, err = follower.communicate(timeout=30)
    assert '"message":"ended"' in out.splitlines()[-1]
    assert err == "the service has ended\n"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_in_the_foreground_it_serves_until_it_is_told_to_end(home: Path, number: signal.Signals) -> None:
    port = free_port()
    process = start("up", "--foreground", *SMALL, "--port", str(port), start_new_session=True)
    deadline = time.monotonic() + 120
    while (connection := runtime.read_connection(port)) is None or daemon.ask(connection, "GET", "/admin/status")[
        "starting"
    ]:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    with contextlib.closing(daemon.client(connection, 10)) as client:
        client.request("GET", "/health")
        assert client.getresponse().status == 200
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert '"message":"ended"' in err
    assert runtime.read_connection(port) is None
