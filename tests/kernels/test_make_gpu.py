"""`make gpu` without a GPU: it says so; all of it but the card works, with no more packages than a CUDA image has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from experiments.gpu.report import TARGETS
from experiments.gpu.run import KERNELS, python_path, stages

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
HERE = ROOT / "experiments" / "gpu"
#: Read by every Python started below: these packages are here, and are not in the image.
WITHOUT = """
import sys
from importlib.machinery import PathFinder

class Image(PathFinder):
    absent = {"llguidance", "msgspec", "pandas", "plotly", "jsonschema", "playwright", "pytest_timeout", "xdist"}

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in cls.absent else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Image
"""
#: A stand-in with vLLM's names and nothing behind them, which gives the tokens asked for.
VLLM = """
from types import SimpleNamespace as Of

class SamplingParams:
    def __init__(self, *, temperature, top_p, seed, max_tokens, ignore_eos, detokenize):
        self.max_tokens = max_tokens

class TokensPrompt(dict):
    def __init__(self, *, prompt_token_ids, cache_salt):
        assert prompt_token_ids and cache_salt

class LLM:
    def __init__(self, *, model, skip_tokenizer_init, dtype, max_model_len, enable_prefix_caching, seed):
        assert dtype == "bfloat16"

    def generate(self, prompts, params, *, use_tqdm):
        return [Of(outputs=[Of(token_ids=[0] * one.max_tokens)]) for _, one in zip(prompts, params, strict=True)]
"""


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_it_says_so_in_one_line() -> None:
    done = subprocess.run([sys.executable, str(HERE / "run.py")], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "make gpu: torch sees no CUDA device here, so nothing was run\n"


def quick(script: str, results: Path, path: Path) -> subprocess.CompletedProcess[str]:
    """Run a script's little of everything on the CPU, with `path` before all other modules."""
    return subprocess.run(
        [sys.executable, str(HERE / script), "--device", "cpu", "--quick", "--results", str(results)],
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_every_stage_works_on_the_cpu_with_what_a_cuda_image_has(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(WITHOUT)
    results = tmp_path / "results" / "cpu"
    results.mkdir(parents=True)
    (results / "kernels.json").write_text("what another commit left")
    (results / "vllm.json").write_text("{}")
    done = quick("run.py", results, tmp_path)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert json.loads((results / "kernels.json").read_text()), "of this run"
    assert (results / "vllm.json").exists(), "another command's"
    workloads = json.loads((results / "workloads.json").read_text())
    assert set(workloads) == {"offline", "sweep", "latency, 8B", "latency", "start"}
    assert all(value > 0 for figures in workloads.values() for value in figures.values())
    assert "| rms_norm |" in done.stdout and "| offline | strict / fast |" in done.stdout
    assert "| the same in strict, of fast | 90% |" in done.stdout
    assert done.stdout.count(" passed") == 6, "three of kernels, contract, models, card"


def test_all_that_needs_a_card_is_found_with_what_a_cuda_image_has(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(WITHOUT)
    for command in next(
        stage for stage in stages("cuda", quick=False, results=tmp_path) if stage.is_gate
    ).commands.values():
        done = subprocess.run(
            [sys.executable, *command, "--collect-only", "-p", "no:timeout"], cwd=ROOT,
            env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": f"{tmp_path}:{python_path()}"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:]


def test_every_test_of_an_op_on_a_card_is_part_of_the_gate() -> None:
    of_the_gate = {file for files in KERNELS.values() for file in files}
    without = {path.stem.removeprefix("test_") for path in (ROOT / "tests" / "kernels").glob("test_*.py")} - of_the_gate
    assert without == {"bench", "dispatch", "instruction_sets", "interpreter", "make_gpu"}, "these take no card"


def test_without_vllm_it_says_so_in_one_line(tmp_path: Path) -> None:
    done = quick("vllm_beside.py", tmp_path, tmp_path)
    assert done.returncode == 1 and not [*tmp_path.iterdir()]
    assert "cannot import vllm, so nothing was run" in done.stderr and done.stderr.count("\n") == 1


def test_beside_vllm_there_is_a_table_of_both(tmp_path: Path) -> None:
    results = tmp_path / "results" / "cpu"
    package = tmp_path / "path"
    (package / "vllm-1.0.dist-info").mkdir(parents=True)
    (package / "vllm-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm\nVersion: 1.0\n")
    (package / "vllm.py").write_text(VLLM)
    done = quick("vllm_beside.py", results, package)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = json.loads((results / "vllm.json").read_text())["figures"]
    assert found.keys() == {"fast", "strict", "vllm"}
    assert all(found[name].keys() == {"offline", "sweep", "latency"} for name in found)
    assert "Beside vLLM 1.0" in done.stdout and "| offline | output tok/s |" in done.stdout


def test_without_results_every_target_is_said_to_be_not_measured() -> None:
    told = (HERE / "README.md").read_text()
    if any(HERE.glob("*/about.json")):
        pytest.skip("there are results")
    assert told.count("not measured (`make gpu`)") == 4 == len(TARGETS)
    assert all(target.what in told for target in TARGETS)
