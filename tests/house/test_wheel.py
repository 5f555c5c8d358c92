"""The built wheel is whole: installed by itself, away from the repository, it generates."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.house.tree import AREAS, ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

WHERE = """
import json, aphrodite, aphrodite_apps, aphrodite_engine, aphrodite_kernels
from aphrodite_engine import demo
packages = (aphrodite, aphrodite_apps, aphrodite_engine, aphrodite_kernels)
print(json.dumps([package.__file__ for package in packages] + [str(demo.path())]))
"""


def run(*command: str | Path, folder: Path) -> str:
    done = subprocess.run([str(c) for c in command], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, folder=folder)
    (file,) = folder.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment that holds the wheel and, through a .pth line, our dependencies.

    Python does not read the .pth files of a folder that a .pth line added: the editable install stays out of sight.
    """
    home = tmp_path_factory.mktemp("fresh") / "venv"
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, folder=home)
    site_packages = next((home / "lib").glob("python*/site-packages"))
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home / "bin"


def test_the_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    listed = run("git", "ls-files", *(f"{area}/{package}" for area, package in AREAS.items()), folder=ROOT)
    missing = [name for name in listed.splitlines() if name.split("/", 1)[1] not in held]
    assert missing == []
    assert any(name.startswith("aphrodite_engine/demo/") and name.endswith(".safetensors") for name in held)
    assert any(name.startswith("aphrodite_kernels/") and name.endswith(".c") for name in held)
    assert wheel.stat().st_size < 25e6


def test_the_fresh_environment_sees_only_what_the_wheel_brought(installed: Path, tmp_path: Path) -> None:
    places = json.loads(run(installed / "python", "-c", WHERE, folder=tmp_path))
    assert [place for place in places if not Path(place).is_relative_to(installed.parent)] == []


def test_the_installed_command_generates_the_same_text(installed: Path, tmp_path: Path) -> None:
    command = ("generate", "Once upon a time", "--seed", "7", "--max-tokens", "32", "--quiet")
    text = run(installed / "aphrodite", *command, folder=tmp_path)
    assert text.strip()
    ours = run(sys.executable, "-m", "aphrodite_apps.cli", *command, folder=tmp_path)
    assert text == ours
