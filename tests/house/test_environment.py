"""`.ci/environment` on machines that lack something: it installs what is missing, or says in one line what to install.

The machines are folders of stand-ins for `python3`, `id` and `apt-get`; every case ends before .venv is touched.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.house.tree import ROOT

TOOLS = ("bash", "dirname", "xargs", "echo")

NEW_PYTHON_WITHOUT_VENV = """case "$2" in *version_info*) exit 0 ;; *) exit 1 ;; esac"""
OLD_PYTHON = "exit 1"


class Machine:
    """A PATH of our making."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder
        for tool in TOOLS:
            found = shutil.which(tool)
            assert found is not None
            (folder / tool).symlink_to(found)

    def has(self, name: str, script: str) -> None:
        file = self.bin / name
        file.write_text(f"#!{self.bin / 'bash'}\n{script}\n")
        file.chmod(0o755)

    def environment(self, **variables: str) -> tuple[int, str]:
        """Exit code and standard error of the script on this machine."""
        command = [str(self.bin / "bash"), str(ROOT / ".ci" / "environment")]
        environment = {"PATH": str(self.bin), **variables}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stderr


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_an_old_python_is_refused(machine: Machine) -> None:
    machine.has("python3", OLD_PYTHON)
    code, said = machine.environment()
    assert code == 1
    assert said.splitlines()[-1].startswith("error: Python 3.11 or newer is needed")


def test_who_may_not_install_is_told_what_to_install(machine: Machine) -> None:
    machine.has("python3", NEW_PYTHON_WITHOUT_VENV)
    machine.has("id", "echo 1000")
    machine.has("apt-get", "echo never >&2")
    missing = "python3-venv gcc libc6-dev"
    assert machine.environment() == (1, f"error: missing: {missing}; install with: sudo apt-get install {missing}\n")


def test_a_compiler_that_is_there_is_not_asked_for(machine: Machine) -> None:
    machine.has("python3", NEW_PYTHON_WITHOUT_VENV)
    machine.has("id", "echo 1000")
    machine.has("cc", "exit 0")
    assert "missing: python3-venv; install" in machine.environment()[1]


def test_root_on_debian_installs_what_is_missing(machine: Machine) -> None:
    machine.has("python3", NEW_PYTHON_WITHOUT_VENV)
    machine.has("id", "echo 0")
    machine.has("apt-get", f'echo "$@" >> {machine.bin}/asked')
    code, said = machine.environment()
    assert "install -y -qq --no-install-recommends python3-venv gcc libc6-dev" in (machine.bin / "asked").read_text()
    assert (code, said) == (1, "error: still missing after apt-get: python3-venv gcc libc6-dev\n")


def test_continuous_integration_also_gets_the_counterparts_of_its_tests(machine: Machine) -> None:
    machine.has("python3", NEW_PYTHON_WITHOUT_VENV)
    machine.has("id", "echo 1000")
    machine.has("cc", "exit 0")
    assert "missing: python3-venv prometheus chromium fonts-dejavu-core;" in machine.environment(CI="true")[1]
