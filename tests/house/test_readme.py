"""The README's tour runs, and prints what the README says."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from aphrodite_apps.cli.entry import overview
from tests.house.tree import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def run(*command: str, folder: Path, **more: str) -> str:
    """Run in a folder that is not the repository, with `aphrodite` on the PATH."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, **more}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_python_tour_prints_what_it_says(tmp_path: Path) -> None:
    code, printed = blocks("python")[0], blocks("text")[0]
    assert run(sys.executable, "-W", "error", "-c", code, folder=tmp_path) == printed


@pytest.mark.slow
def test_the_service_tour_runs_and_openai_s_client_prints_what_it_says(tmp_path: Path) -> None:
    (script,), code, printed = blocks("bash"), blocks("python")[1], blocks("text")[1]
    start, *rest = script.splitlines()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    with TemporaryDirectory(prefix="aph-") as home:  # short: Unix sockets have short paths
        own = {"APHRODITE_PORT": port, "APHRODITE_RUNTIME_DIR": home, "APHRODITE_DATA_DIR": home + "/data"}
        try:
            assert f"http://127.0.0.1:{port}/v1" in run("bash", "-c", start, folder=tmp_path, **own)
            there = code.replace("2242", port)
            assert run(sys.executable, "-W", "error", "-c", there, folder=tmp_path) == printed
            done = run("bash", "-e", "-c", "\n".join(rest), folder=tmp_path, **own)
            assert done.endswith("the service has ended; its memory is free\n")
        finally:
            subprocess.run([sys.executable, "-m", "aphrodite_apps.cli", "down", "--now"], env=os.environ | own)


@pytest.mark.slow
@pytest.mark.parametrize("line", "".join(blocks("sh")).splitlines())
def test_every_line_of_the_shell_tour_runs(line: str, tmp_path: Path) -> None:
    assert run("bash", "-c", line, folder=tmp_path).strip()


def test_the_help_is_the_commands_own() -> None:
    (shown,) = blocks("help")
    assert shown == overview().format_help()


def test_every_link_leads_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_make_target_of_the_readme_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    assert set(re.findall(r"^    make ([a-z]+)", README, re.MULTILINE)) <= targets
