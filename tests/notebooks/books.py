"""The notebooks of this project, and a service for them: what testing them and writing their outputs share."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.house.tree import ROOT
from tests.service.running import free_port

FOLDER = ROOT / "notebooks"
BOOKS = sorted(file for file in FOLDER.rglob("*.ipynb") if ".ipynb_checkpoints" not in file.parts)

#: Every stored output of these is compared: the engine is reproducible. Of the others, cells tagged nbval-check-output.
CONTRACTS = frozenset({"02_tokens_seen", "03_structured_output_and_tools", "05_samplers_seen"})


@contextlib.contextmanager
def aphrodite_up() -> Iterator[dict[str, str]]:
    """`aphrodite up` in folders of its own; the environment in which a notebook finds that service."""
    home = Path(tempfile.mkdtemp(prefix="aph-"))  # short: Unix sockets have short paths
    environment = os.environ | {
        "APHRODITE_PORT": str(free_port()),
        "APHRODITE_RUNTIME_DIR": str(home),
        "APHRODITE_DATA_DIR": str(home / "data"),
        "APHRODITE_CONFIG_DIR": str(home / "config"),
        "APHRODITE_DISPLAY": "static",
        "IPYTHONDIR": str(home / "ipython"),
    }
    try:
        _command(environment, "up", "demo")
        try:
            yield environment
        finally:
            _command(environment, "down", "--now")
    finally:
        shutil.rmtree(home)


def _command(environment: dict[str, str], *words: str) -> None:
    command = [sys.executable, "-m", "aphrodite_apps.cli", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90, check=False)
    if done.returncode:
        raise RuntimeError(f"aphrodite {' '.join(words)} ended with {done.returncode}: {done.stdout}{done.stderr}")
