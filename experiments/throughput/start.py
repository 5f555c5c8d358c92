"""The start workload: fresh processes, timed from outside, and their memory."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from shapes import SHAPES, checkpoint

CHILD = Path(__file__).with_name("child.py")


def measure(rounds: int) -> dict[str, Any]:
    """Time to the first token (ours cold and warm, transformers), import time, memory."""
    from aphrodite_engine.loading.hub import resolve_model

    folder = str(resolve_model("demo"))
    samples: dict[str, list[float]] = {"ours": [], "transformers": [], "import aphrodite": []}
    runs: dict[str, list[dict[str, float]]] = {"ours": [], "transformers": []}
    for _ in range(rounds):
        for name, task, model in (("ours", "ours", "demo"), ("transformers", "transformers", folder)):
            run = first_token(task, model)
            samples[name].append(run["seconds"])
            runs[name].append(run)
        samples["import aphrodite"].append(child("bare_import", "")["import"])
        print("  " + ", ".join(f"{name} {values[-1]:.2f} s" for name, values in samples.items()), flush=True)
    return {
        "seconds": samples,
        "cold": cold_start(),
        "stages": {name: _stages(many) for name, many in runs.items()},
        "resident": {name: statistics.median(run["resident"] for run in many) for name, many in runs.items()},
    }


def first_token(task: str, model: str, **environment: str) -> dict[str, float]:
    """A child's report, with seconds from just before it was started."""
    start = time.time()
    report = child(task, model, **environment)
    moments = {name: report[name] - start for name in ("imported", "loaded", "first_token")}
    return {**report, **moments, "seconds": moments["first_token"]}


def cold_start() -> float:
    """The first start ever on a machine: the C kernels are compiled (into an empty cache folder)."""
    with tempfile.TemporaryDirectory() as cache:
        return first_token("ours", "demo", XDG_CACHE_HOME=cache)["seconds"]


def load_peaks(shape: str) -> dict[str, dict[str, float]]:
    """Peak memory while the shape's checkpoint (bfloat16 on disk) loads, by loader and dtype."""
    folder = str(checkpoint(SHAPES[shape]))
    tasks = (("ours", "load"), ("transformers", "load_transformers"))
    return {f"{name} {dtype}": child(task, folder, dtype) for name, task in tasks for dtype in ("float32", "bfloat16")}


def child(task: str, *arguments: str, **environment: str) -> dict[str, float]:
    """Run child.py in a process of its own."""
    command = [sys.executable, str(CHILD), task, *arguments]
    done = subprocess.run(
        command, env={**os.environ, "HF_HUB_OFFLINE": "1", **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{task} failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _stages(runs: list[dict[str, float]]) -> dict[str, float]:
    """Median seconds until imports are done, the model is there, the first token is out (also in processor time)."""
    names = ("imported", "loaded", "first_token", "processor")
    return {name: statistics.median(run[name] for run in runs) for name in names}
