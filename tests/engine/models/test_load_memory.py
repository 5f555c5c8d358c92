"""Loading takes the weights' own memory and little more, on the fast path and on the universal one.

Each load runs in a process of its own so that its peak can be read. What counts is the peak over the state in which the
same code has loaded a tiny model of the kind: transformers' model code and torch's libraries are in memory by then (250
MB of modules that are not weights), and so is whatever a first forward sets up once.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.models.checkpoints import write_checkpoint
from tests.engine.models.conftest import Checkpoint

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux: the peak is read from /proc"),
]

_SIZES: dict[str, Any] = {
    "hidden_size": 1024, "intermediate_size": 3072, "num_attention_heads": 16, "num_key_value_heads": 4,
}  # fmt: skip
#: Checkpoints of 390 to 600 MB. A large vocabulary makes large logits; few layers of experts make large merges.
_KINDS = {
    "llama": {**_SIZES, "num_hidden_layers": 6, "vocab_size": 16_000},
    "gemma2": {**_SIZES, "num_hidden_layers": 7, "vocab_size": 64_000, "head_dim": 64},
    "mixtral": {**_SIZES, "num_hidden_layers": 4, "vocab_size": 16_000, "hidden_size": 512},
}
_MEASURE = """
import sys, torch
from pathlib import Path
from aphrodite_engine.loading.memory import return_to_system
from aphrodite_engine.models.base import LoadOptions
from aphrodite_engine.models.registry import load_decoder, read_model_config

CPU = torch.device("cpu")

def status(field):
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(field))

def load(folder, dtype):
    config = read_model_config(Path(folder), dtype)
    return load_decoder(config, LoadOptions(CPU, dtype)), config.weight_bytes

dtype = getattr(torch, sys.argv[3])
torch.set_num_threads(1)
load(sys.argv[1], dtype)
return_to_system(CPU)
Path("/proc/self/clear_refs").write_text("5")
before = status("VmRSS")
model, weight_bytes = load(sys.argv[2], dtype)
print((status("VmHWM") - before) / weight_bytes)
"""


@pytest.fixture(scope="module", params=_KINDS)
def large(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A kind and its checkpoint in float32, which is not kept."""
    folder = tmp_path_factory.mktemp("large")
    yield request.param, write_checkpoint(folder, request.param, std=0.02, changes=_KINDS[request.param])
    shutil.rmtree(folder)


def _peak(small: Path, large: Path, dtype: str) -> float:
    """The most memory while loading, over what there was before, as a multiple of the weights."""
    command = [sys.executable, "-c", _MEASURE, str(small), str(large), dtype]
    return float(subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout)


def test_the_peak_of_loading_is_the_weights_and_little_more(large: tuple[str, Path], checkpoint: Checkpoint) -> None:
    kind, folder = large
    assert 0.95 < _peak(checkpoint(kind), folder, "float32") < 1.15


def test_converting_to_a_smaller_dtype_holds_no_tensor_in_both(large: tuple[str, Path], checkpoint: Checkpoint) -> None:
    """float16 takes all that bfloat16 takes, and is looked through for what does not fit."""
    kind, folder = large
    assert 0.95 < _peak(checkpoint(kind), folder, "float16") < 1.15
