"""`aphrodite share`: what it prints works as it is pasted."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest

from aphrodite.service.access.keys import PREFIX
from aphrodite_apps.cli import main
from tests.service.running import Running
from tests.service.teammates import new_name, store

_KEY = re.compile(PREFIX + "[0-9a-f]{40}")


@pytest.fixture
def shared(service: Running, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """What `aphrodite share` prints for a new teammate."""
    monkeypatch.setenv("APHRODITE_DATA_DIR", str(service.home / "data"))
    monkeypatch.setenv("APHRODITE_RUNTIME_DIR", str(service.home / "run"))
    limits = "requests-per-minute=60,concurrent=4"
    argv = ["share", "--name", new_name(), "--limit", limits, "--port", str(service.connection.port)]
    assert main(argv) == 0
    return capsys.readouterr().out


def _snippet(shared: str, title: str) -> str:
    """The indented lines after a title."""
    lines = shared.split(title, 1)[1].split("\n", 1)[1].splitlines()
    found = []
    for line in lines:
        if not line.startswith("  "):
            break
        found.append(line[2:])
    return "\n".join(found)


def _environment(shared: str) -> dict[str, str]:
    found = _KEY.search(shared)
    assert found
    return os.environ | {"APHRODITE_API_KEY": found[0]}


def test_it_fits_a_terminal_and_shows_address_model_and_limits(shared: str, service: Running) -> None:
    assert max(map(len, shared.splitlines())) <= 80
    assert len(set(_KEY.findall(shared))) == 1
    assert service.url in shared and '"demo"' in shared
    assert "60 requests/min, 4 at once" in shared
    assert f"%aphrodite connect {service.url}" in shared


def test_it_says_that_a_service_answers_one_machine_only_and_what_to_do(shared: str) -> None:
    assert "This service answers this machine only." in shared
    assert "ssh -N -L" in shared and "--host 0.0.0.0 --tls-cert" in shared


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_shell_s_lines_work(shared: str) -> None:
    script = _snippet(shared, "In a shell").replace("curl ", "curl -sS ", 1)
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
    assert '"object":"chat.completion"' in done.stdout, done.stderr


@pytest.mark.slow
def test_python_s_lines_work(shared: str) -> None:
    code = _snippet(shared, "Python, with OpenAI's client")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=_environment(shared)
    )
    assert done.returncode == 0 and done.stdout.strip(), done.stderr


def test_the_key_is_stored_for_the_service_that_runs(shared: str, service: Running) -> None:
    with service.client(headers={"x-api-key": _environment(shared)["APHRODITE_API_KEY"]}) as client:
        assert client.get("/v1/models").status_code == 200


def test_a_name_that_has_a_key_is_said_so(
    service: Running, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("APHRODITE_DATA_DIR", str(service.home / "data"))
    monkeypatch.setenv("APHRODITE_RUNTIME_DIR", str(service.home / "run"))
    name = new_name()
    store(service).add(name)
    assert main(["share", "--name", name, "--port", str(service.connection.port)]) == 1
    printed = capsys.readouterr()
    assert "there is a key for" in printed.err and not printed.out


def test_without_a_service_it_says_how_to_start_one(
    tmp_path: os.PathLike[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("APHRODITE_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("APHRODITE_RUNTIME_DIR", str(tmp_path))
    assert main(["share", "--name", "dana", "--port", "2299"]) == 0
    assert "No service runs on port 2299 yet: `aphrodite up --port 2299`" in capsys.readouterr().out
