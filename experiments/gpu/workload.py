"""The engine's workloads on one device: offline in both modes, sweep, latency, start. JSON, written after each.

The 0.6B shape throughout, and latency on an 8B shape too (two layers of nothing with --quick), with random weights;
experiments/throughput defines shapes and requests (run.py puts both on the path). Two engines that are compared are in
memory together and take turns. What does not end in its time leaves what was measured before it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from aphrodite_kernels.roofline import measure as measure_roof
from experiments.gpu.checkpoint import EIGHT_B, checkpoint
from experiments.gpu.engines import Ours, Timed
from experiments.throughput import shapes, workloads
from experiments.throughput.shapes import Shape

TINY = Shape("tiny", 64, 2, 2, 1, 32, 128, 10_240, kv_cache_memory=64 << 20)
#: Of the KV cache of one of two engines: the offline workload holds some 175,000 tokens at once, 20 GB.
KV_BYTES, KV_SHARE = 24 << 30, 0.33
Figures = dict[str, float]


@dataclass(frozen=True)
class Setting:
    """Where and how much."""

    device: str
    quick: bool

    @property
    def on_gpu(self) -> bool:
        return self.device.startswith("cuda")

    @property
    def rounds(self) -> int:
        return 1 if self.quick else 5

    @property
    def tokens(self) -> int:
        """New tokens of the latency workload."""
        return 8 if self.quick else 128

    def engine(self, folder: Path, kv_bytes: int | None = None, **settings: Any) -> Timed:
        """One that leaves room for another."""
        kv_bytes = kv_bytes or (KV_BYTES if self.on_gpu else TINY.kv_cache_memory)
        if self.on_gpu:
            kv_bytes = min(kv_bytes, int(KV_SHARE * torch.cuda.get_device_properties(self.device).total_memory))
        return Timed(Ours(folder, self.device, kv_cache_memory=kv_bytes, **settings))

    def copy(self) -> float:
        """Bytes a second that a copy reads and writes here."""
        device = torch.device(self.device)
        return measure_roof(device, torch.bfloat16 if self.on_gpu else torch.float32, 0.1).bytes_per_s


def measure(setting: Setting) -> Iterator[tuple[str, Figures]]:
    """Workload and its figures, one after the other, what has a target first."""
    shape = TINY if setting.quick else shapes.SHAPES["0.6b"]
    with checkpoint(shape) as folder:
        strict = setting.engine(folder)
        yield "offline", offline(setting, strict, folder)
        yield "sweep", sweep(setting, strict)
        strict.close()
    large = TINY if setting.quick else EIGHT_B
    with checkpoint(large) as folder:
        engine = setting.engine(folder, kv_bytes=large.kv_cache_memory)
        yield "latency, 8B", latency(setting, engine, large)
        engine.close()
    with checkpoint(shape) as folder:
        yield "latency", against_eager(setting, folder, shape)
        yield "start", start(setting, folder)


def offline(setting: Setting, strict: Timed, folder: Path) -> Figures:
    """Output tokens a second of both modes, in turns."""
    jobs = workloads.offline_on_cpu(4, 8) if setting.quick else workloads.offline()
    fast = setting.engine(folder, determinism="fast")
    for engine in (fast, strict):
        engine.warm_up(jobs)
    rates = [(fast.rate(jobs), strict.rate(jobs)) for _ in range(1 if setting.quick else 2)]
    fast.close()
    return {
        "fast, output tok/s": statistics.median(fast for fast, _ in rates),
        "strict, output tok/s": statistics.median(strict for _, strict in rates),
        "strict / fast": statistics.median(strict / fast for fast, strict in rates),
    }


def sweep(setting: Setting, engine: Timed) -> Figures:
    """All combinations together, and some of them one by one."""
    jobs = workloads.sweep(2, 2, 1, 64, 4) if setting.quick else workloads.sweep()
    engine.warm_up(jobs)
    together, alone = engine.sweep(jobs)
    return {"together, s": together, "one by one / together": alone / together}


def latency(setting: Setting, engine: Timed, shape: Shape) -> Figures:
    """Tokens a second of one sequence, and what that reads of weights, keys and values, as a share of a copy."""
    engine.decode_rate(setting.tokens)
    rate = statistics.median(engine.decode_rate(setting.tokens) for _ in range(setting.rounds))
    return _bandwidth(setting, shape, rate)


def against_eager(setting: Setting, folder: Path, shape: Shape) -> Figures:
    """The same, and beside it an engine that launches every kernel by itself, in turns."""
    graph = setting.engine(folder, kv_bytes=shape.kv_cache_memory)
    eager = setting.engine(folder, kv_bytes=shape.kv_cache_memory, enforce_eager=True)
    rates: list[tuple[float, float]] = []
    for _ in range(1 + setting.rounds):  # the first is the warm-up
        rates.append((graph.decode_rate(setting.tokens), eager.decode_rate(setting.tokens)))
    graph.close()
    eager.close()
    found = _bandwidth(setting, shape, statistics.median(rate for rate, _ in rates[1:]))
    return {**found, "graph / eager": statistics.median(rate / slower for rate, slower in rates[1:])}


def _bandwidth(setting: Setting, shape: Shape, rate: float) -> Figures:
    width = 2 if setting.on_gpu else 4
    read = shape.num_parameters * width + shape.kv_bytes_per_token * width / 4 * (128 + setting.tokens / 2)
    return {"output tok/s": rate, "GB/s": rate * read / 1e9, "of a measured copy": rate * read / setting.copy()}


def start(setting: Setting, folder: Path) -> Figures:
    """Process start to first token: with kernels to compile, and with them in the cache."""
    with tempfile.TemporaryDirectory() as cache:
        cold, warm = (_first_token(setting.device, folder, cache) for _ in range(2))
    return {"first token, kernels compiled, s": cold, "first token, s": warm}


def _first_token(device: str, folder: Path, cache: str) -> float:
    environment = os.environ | {"TRITON_CACHE_DIR": cache}
    command = [sys.executable, __file__, "--device", device, "--first-token", str(folder)]
    begun = time.time()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"start: {done.stderr[-2000:]}")
    return float(done.stdout.splitlines()[-1]) - begun


def say_first_token(device: str, folder: Path) -> None:
    """Print when it came."""
    engine = Setting(device, quick=False).engine(folder, kv_bytes=TINY.kv_cache_memory, max_num_seqs=1)
    engine.seconds([workloads.latency(1)])
    print(time.time())
    engine.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--first-token", type=Path, metavar="FOLDER", help="only load it and say when a token came")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.first_token:
        say_first_token(options.device, options.first_token)
        return
    found: dict[str, Figures] = {}
    for name, figures in measure(Setting(options.device, options.quick)):
        found[name] = figures
        print(name, ", ".join(f"{figure} {value:,.3g}" for figure, value in figures.items()), flush=True)
        if options.json:
            options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
