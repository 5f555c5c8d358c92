"""`make gpu` without a GPU: it says so; all of it but the card works, with no more packages than a CUDA image has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "experiments" / "gpu" / "run.py"
#: Read by every Python started below: these packages are here, and are not in the image.
WITHOUT = """
import sys

class Absent:
    names = {"llguidance", "msgspec", "playwright", "pytest_timeout", "xdist"}

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"{name} is not in the image", name=name)

sys.meta_path.insert(0, Absent())
"""


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_it_says_so_in_one_line() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "make gpu: torch sees no CUDA device here, so nothing was run\n"


@pytest.mark.slow
def test_every_stage_works_on_the_cpu_with_what_a_cuda_image_has(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(WITHOUT)
    results = tmp_path / "results" / "cpu"
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--device", "cpu", "--quick", "--results", str(results)],
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    workloads = json.loads((results / "workloads.json").read_text())
    assert set(workloads) == {"start", "latency", "sweep", "offline"}
    assert all(value > 0 for figures in workloads.values() for value in figures.values())
    assert "| rms_norm |" in done.stdout and "| offline | strict / fast |" in done.stdout
