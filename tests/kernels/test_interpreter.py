"""The Triton kernels without a GPU: these tests' own bodies in Triton's interpreter, and compiled for an H100."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytest.importorskip("triton", reason="Triton is not installed")


@pytest.mark.slow
@pytest.mark.timeout(900)  # a minute each on two quiet cores
@pytest.mark.parametrize("files", ["row_ops", "sample nucleus matmul", "draw", "attention", "triton_paths"])
def test_kernels_pass_the_same_tests_in_the_interpreter(files: str) -> None:
    paths = [f"tests/kernels/test_{name}.py" for name in files.split()]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *paths],
        cwd=ROOT, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None and int(passed[1]) > 5, done.stdout


@pytest.mark.slow
def test_kernels_compile_for_an_h100_and_products_use_its_tensor_cores(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.kernels.compile_for", "90"],
        cwd=ROOT, env={**os.environ, "TRITON_CACHE_DIR": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    names = {line.split()[0] for line in lines}
    assert names >= {
        "_rms_norm",
        "_rope",
        "_kv_store",
        "_silu_mul",
        "_philox_uniform",
        "_nucleus",
        "_shape",
        "_select",
        "_matmul",
        "_attention",
    }
    assert all("wgmma" in line for line in lines if line.startswith(("_matmul", "_attention")))
    for words in (line.split() for line in lines if line.startswith("_attention")):
        assert "cp.async" in words
        assert "ld.global.b16" not in words
