"""The repository as the house tests see it."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: Area -> its package, lowest first: an area may import itself and what stands before it.
AREAS = {
    "kernels": "aphrodite_kernels",
    "engine": "aphrodite_engine",
    "workbench": "aphrodite",
    "apps": "aphrodite_apps",
}


@cache
def tracked_files() -> list[Path]:
    """Files that git tracks; the test is skipped where the tree did not come from git."""
    found = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if found.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in found.stdout.split("\0") if name and (ROOT / name).is_file()]
