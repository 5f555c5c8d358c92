"""`make gpu`: the gate on a GPU, then the benchmarks, in nine minutes.

    1 kernels     the gpu-marked tests of tests/kernels: every op on the card
    2 contract    tests/engine/test_on_gpu.py: strict mode, eager; memory returned on close
    3 roof        aphrodite_kernels.bench: each op as a share of what a copy or a product reaches
    4 workloads   workload.py: start, latency, strict, sweep, offline on the 0.6B shape, random weights

Writes <device>/*.json beside this file and a table into README.md. A failed test ends it before anything is timed.
Needs torch, triton, transformers, pytest and hypothesis; no network, nothing is installed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BUDGET_SECONDS = 9 * 60
BEGIN, END = "<!-- results -->", "<!-- /results -->"


@dataclass(frozen=True)
class Stage:
    """A child process: its words after `python -m` or a script's path, and the most time it may take."""

    name: str
    command: tuple[str, ...]
    seconds: float


def tests(folder: str, *arguments: str) -> tuple[str, ...]:
    """pytest with the settings of this folder, blind to conftest files above the tests' own."""
    return ("-m", "pytest", "-q", "-c", str(HERE / "pytest.ini"), f"--rootdir={ROOT}", f"--confcutdir={folder}",
            *arguments)  # fmt: skip


def stages(device: str, quick: bool, results: Path) -> list[Stage]:
    """What is run, in order. Quick and on the CPU it is the same with little to do, to see that it works."""
    on_gpu = device.startswith("cuda")
    kernels = (
        ("tests/kernels", "-m", "gpu")
        if on_gpu
        else ("tests/kernels/test_row_ops.py", "-m", "not gpu", "-k", "zero_tokens")
    )
    bench = ("-m", "aphrodite_kernels.bench", "--device", device, "--json", str(results / "kernels.json"))
    bench += ("--quick", "--seconds", "0.001", "--ops", "rms_norm", "silu_mul") if quick else ()
    workload = (str(HERE / "workload.py"), "--device", device, "--json", str(results / "workloads.json"))
    return [
        Stage("kernels", tests("tests/kernels", *kernels), 200),
        Stage("contract", tests("tests/engine", "tests/engine/test_on_gpu.py"), 120),
        Stage("roof", bench, 100),
        Stage("workloads", workload + (("--quick",) if quick else ()), 240),
    ]


def run(stage: Stage, until: float) -> float:
    """Run a stage to its end; how long it took.

    Raises:
        SystemExit: it failed, or took longer than it may.
    """
    print(f"== {stage.name}", flush=True)
    start = time.perf_counter()
    paths = [str(ROOT / area) for area in ("kernels", "engine", "workbench", "apps")]
    paths = [*paths, str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": os.pathsep.join(paths)}
    limit = min(stage.seconds, until - start)
    try:
        done = subprocess.run([sys.executable, *stage.command], cwd=ROOT, env=environment, timeout=limit, check=False)
    except subprocess.TimeoutExpired as error:
        raise SystemExit(f"{stage.name}: not done after {limit:.0f} s") from error
    if done.returncode:
        raise SystemExit(f"red gate: {stage.name} ended with status {done.returncode}; nothing after it was run")
    return round(time.perf_counter() - start, 1)


def summary(results: Path) -> str:
    """The tables of README.md from the results of every device."""
    parts = []
    for file in sorted(results.glob("*/about.json")):
        about = json.loads(file.read_text())
        parts.append(f"### {about['device']}\n\ntorch {about['torch']}, triton {about['triton']}, {about['date']}\n")
        parts += [_kernels(file.with_name("kernels.json")), _workloads(file.with_name("workloads.json"))]
    return "\n".join(parts) or "Not measured yet: no GPU was at hand. `make gpu` measures and writes it here.\n"


def _kernels(file: Path) -> str:
    lines = ["| op | case | µs | GB/s | of the roof |", "|---|---|---|---|---|"]
    for row in json.loads(file.read_text()):
        cells = (row["op"], row["case"], f"{row['microseconds']:,.1f}", f"{row['gb_per_s']:,.0f}", f"{row['roof']:.0%}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _workloads(file: Path) -> str:
    lines = ["| workload | figure | value |", "|---|---|---|"]
    found: dict[str, dict[str, Any]] = json.loads(file.read_text())
    lines += [f"| {name} | {figure} | {value:,.3g} |" for name, row in found.items() for figure, value in row.items()]
    return "\n".join(lines) + "\n"


def refresh(readme: Path, table: str) -> None:
    """Put the tables between the two marks."""
    text = readme.read_text()
    head, rest = text.split(BEGIN)
    readme.write_text(f"{head}{BEGIN}\n\n{table}\n{END}{rest.split(END)[1]}")


def about(device: str) -> dict[str, str]:
    """What was measured on."""
    from importlib.metadata import version

    import torch

    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else "CPU, to see that it works"
    return {
        "device": name,
        "date": time.strftime("%Y-%m-%d"),
        **{package: version(package) for package in ("torch", "triton", "transformers")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="little of everything, to see that it works")
    parser.add_argument("--results", type=Path, help="a folder (default: named after the device, beside this file)")
    options = parser.parse_args()
    import torch

    if options.device.startswith("cuda") and not torch.cuda.is_available():
        raise SystemExit("make gpu: torch sees no CUDA device here, so nothing was run")
    until = time.perf_counter() + BUDGET_SECONDS
    facts = about(options.device)
    results = options.results or HERE / "-".join(facts["device"].lower().split())
    results.mkdir(parents=True, exist_ok=True)
    taken = {stage.name: run(stage, until) for stage in stages(options.device, options.quick, results)}
    (results / "about.json").write_text(json.dumps({**facts, "seconds": taken}, indent=1) + "\n")
    if options.results is None:
        refresh(HERE / "README.md", summary(HERE))
    print(summary(results.parent))


if __name__ == "__main__":
    main()
