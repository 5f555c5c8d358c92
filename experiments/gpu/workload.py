"""The engine's workloads on one device: start, latency, strict against fast, the sweep, offline. JSON, a figure a line.

The model has the shape of Qwen3-0.6B (two layers of nothing with --quick) and random weights; experiments/throughput
defines shapes and requests (run.py puts both on the path). Each workload is warmed up by a shortened run of its own.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from experiments.throughput import shapes, workloads
from experiments.throughput.shapes import Shape
from experiments.throughput.workloads import Job

TINY = Shape("tiny", 64, 2, 2, 1, 32, 128, 10_240, kv_cache_memory=64 << 20)


class Engine:
    """An LLM whose calls never meet each other's prefixes in the cache."""

    def __init__(self, folder: Path, device: str, **settings: Any) -> None:
        from aphrodite_engine.llm import LLM

        dtype = "bfloat16" if device.startswith("cuda") else "float32"
        self._llm = LLM(folder, dtype=dtype, device=device, seed=0, max_model_len=4096, **settings)
        self._calls = 0

    def seconds(self, jobs: list[Job]) -> float:
        """How long the jobs take together; each gives exactly the tokens it asked for."""
        from aphrodite_engine.params import SamplingParams

        self._calls += 1
        start = time.perf_counter()
        results = self._llm.generate(
            [list(job.prompt) for job in jobs],
            [SamplingParams(temperature=job.temperature, top_p=job.top_p, seed=job.seed, max_tokens=job.max_tokens,
                            ignore_eos=True) for job in jobs],
            cache_salt=str(self._calls),
        )  # fmt: skip
        taken = time.perf_counter() - start
        lengths = [len(result.token_ids) for result in results]
        if lengths != [job.max_tokens for job in jobs]:
            raise SystemExit(f"red gate: {sum(lengths)} tokens, {sum(job.max_tokens for job in jobs)} were asked for")
        return taken

    def rate(self, jobs: list[Job]) -> float:
        """Output tokens a second, after a warm-up of a few tokens each."""
        self.seconds(workloads.shortened(jobs, 4))
        return sum(job.max_tokens for job in jobs) / self.seconds(jobs)

    def close(self) -> None:
        self._llm.close()


def measure(device: str, quick: bool) -> dict[str, dict[str, float]]:
    """Workload -> figure -> value."""
    shape = TINY if quick else shapes.SHAPES["0.6b"]
    folder = shapes.checkpoint(shape)
    memory = {"kv_cache_memory": shape.kv_cache_memory} if quick or device == "cpu" else {}
    start = time.perf_counter()
    strict = Engine(folder, device, **memory)
    loaded = time.perf_counter() - start
    first = strict.seconds([workloads.latency(1)])
    found = {"start": {"load, s": loaded, "first token after it, s": first}}
    found["latency"] = _latency(strict, shape, device, quick)
    found["sweep"] = _sweep(strict, quick)
    jobs = workloads.offline_on_cpu(4, 8) if quick else workloads.offline()
    strict_rate = strict.rate(jobs)
    strict.close()
    fast = Engine(folder, device, determinism="fast", **memory)
    fast_rate = fast.rate(jobs)
    fast.close()
    rates = {"strict, output tok/s": strict_rate, "fast, output tok/s": fast_rate}
    found["offline"] = {**rates, "strict / fast": strict_rate / fast_rate}
    return found


def _latency(engine: Engine, shape: Shape, device: str, quick: bool) -> dict[str, float]:
    """Tokens a second of one sequence, and the weights and keys and values that this reads."""
    rate = engine.rate([workloads.latency(4 if quick else 128)])
    width = 2 if device.startswith("cuda") else 4
    moved = shape.num_parameters * width + shape.kv_bytes_per_token * width / 4 * 192
    return {"output tok/s": rate, "GB/s": rate * moved / 1e9}


def _sweep(engine: Engine, quick: bool) -> dict[str, float]:
    """All combinations together, and some of them one by one."""
    jobs = workloads.sweep(2, 2, 1, 64, 4) if quick else workloads.sweep()
    together = engine.seconds(jobs)
    some = jobs[:: max(1, len(jobs) // 4)]
    alone = sum(engine.seconds([job]) for job in some) * len(jobs) / len(some)
    return {"together, s": together, "one by one / together": alone / together}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    found = measure(options.device, options.quick)
    options.json.write_text(json.dumps(found, indent=1) + "\n")
    for workload, figures in found.items():
        print(workload, ", ".join(f"{name} {value:,.3g}" for name, value in figures.items()))


if __name__ == "__main__":
    main()
