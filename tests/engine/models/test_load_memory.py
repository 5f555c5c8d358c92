"""Loading takes the weights' own memory and little more, in a process of its own so that its peak can be read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.models.checkpoints import write_checkpoint
from tests.engine.models.conftest import Checkpoint

_MEASURE = """
import sys, torch
from pathlib import Path
from aphrodite_engine.models.base import LoadOptions
from aphrodite_engine.models.registry import load_decoder, read_model_config

def status(field):
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(field))

def load(folder):
    config = read_model_config(Path(folder))
    return load_decoder(config, LoadOptions(torch.device("cpu"), config.dtype)), config.weight_bytes

torch.set_num_threads(1)
load(sys.argv[1])
Path("/proc/self/clear_refs").write_text("5")
before = status("VmRSS")
model, weight_bytes = load(sys.argv[2])
print((status("VmHWM") - before) / weight_bytes)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux: the peak is read from /proc")
def test_the_peak_of_loading_is_the_weights_and_little_more(checkpoint: Checkpoint, tmp_path: Path) -> None:
    sizes = {"hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 4, "vocab_size": 8000}
    large = write_checkpoint(tmp_path / "large", "llama", changes=sizes)
    command = [sys.executable, "-c", _MEASURE, str(checkpoint("llama")), str(large)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    # 16 MiB of chunks and heap are a twentieth of these 267 MB.
    assert 0.95 < float(answer.stdout) < 1.15
