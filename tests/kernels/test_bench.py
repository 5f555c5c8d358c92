"""The benchmark and the tuner run: figures are written down, what was not measured says so; no figure is asserted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from aphrodite_kernels.case import Case
from aphrodite_kernels.roofline import Roof
from aphrodite_kernels.tune import best

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False, timeout=200
    )


def test_the_roof_is_the_slower_of_memory_and_arithmetic() -> None:
    def case(moved: int, flops: int, fixed: int = 0) -> Case:
        return Case("", lambda *_: {}, torch.zeros, torch.zeros, moved, flops, 0.0, fixed_bytes=fixed)

    roof = Roof(bytes_per_s=100.0, flops_per_s=1000.0)
    assert roof.seconds(case(200, 10), torch.float32) == 2.0
    assert roof.seconds(case(200, 10), torch.bfloat16) == 1.0
    assert roof.seconds(case(200, 5000), torch.float32) == 5.0
    assert roof.seconds(case(200, 10, fixed=300), torch.bfloat16) == 4.0


def test_the_tuner_keeps_what_loses_least_over_all_rows() -> None:
    candidates = [{"BLOCK_M": 16}, {"BLOCK_M": 64}, {"BLOCK_M": 128}]
    times = {"N8": [[1.0, 1.2, float("inf")], [4.0, 2.0, 1.9]], "N9": [[3.0, 2.0, 1.0]]}
    assert best(times, candidates) == {"N8": {"BLOCK_M": 64}, "N9": {"BLOCK_M": 128}}


@pytest.mark.slow
def test_the_benchmark_prints_a_line_a_case_and_says_what_was_not_measured(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    arguments = ("--device", "cpu", "--quick", "--seconds", "0.001", "--ops", "rms_norm", "sample", "--json", str(file))
    done = run("aphrodite_kernels.bench", *arguments)
    assert done.returncode == 0, done.stderr
    rows = json.loads(file.read_text())
    assert {row["op"] for row in rows} == {"rms_norm", "sample"}
    assert all(row["microseconds"] > 0 and row["error"] < 1e-6 for row in rows)
    assert done.stdout.count("| rms_norm |") == sum(row["op"] == "rms_norm" for row in rows)
    assert "GPU: not measured" in done.stdout


@pytest.mark.slow
def test_the_tuner_writes_settings_that_the_kernels_then_use(tmp_path: Path) -> None:
    pytest.importorskip("triton", reason="Triton is not installed")
    interpreter = {"TRITON_INTERPRET": "1", "APHRODITE_KERNELS": "triton"}
    quick = ("--device", "cpu", "--quick", "--seconds", "0", "--folder", str(tmp_path))
    done = run("aphrodite_kernels.tune", *quick, **interpreter)
    assert done.returncode == 0, done.stderr
    found = json.loads(Path(done.stdout.strip()).read_text())["settings"]
    assert found["matmul"]["N64_K128_float32_wide"]["BLOCK_M"] == 64
    assert found["attention"]["D16_G2_wide"]["SPLIT"] in (256, 512, 1024)
    assert found["draw"]["V61"]["PIECE"] == 1024


def test_without_triton_there_is_nothing_to_tune() -> None:
    done = run("aphrodite_kernels.tune", "--device", "cpu")
    assert done.returncode == 1
    assert done.stderr.strip().endswith("nothing to tune on cpu: only the Triton kernels have settings")
