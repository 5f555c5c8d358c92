"""`python -m aphrodite_kernels.tune`: try the launch settings of the large ops on this GPU, keep the fastest.

Writes tuned/<device>.json (gpu/tuning.py reads it). A setting belongs to the sizes of a model, whatever the number of
rows: it is the one that loses least over all of them. It becomes part of the build: others may give other last bits.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import torch

from aphrodite_kernels import attention, draw, matmul
from aphrodite_kernels.case import Case
from aphrodite_kernels.dispatch import Backend, backend
from aphrodite_kernels.roofline import median_seconds

Settings = dict[str, int]
#: sizes -> for each case of those sizes, the time of every candidate.
Times = dict[str, list[list[float]]]


def time_candidates(
    op: str, cases: Sequence[Case], candidates: Sequence[Settings], device: torch.device, seconds: float
) -> Times:
    """Run every case under every candidate; one that the device has no room for takes infinitely long."""
    times: Times = defaultdict(list)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    for case in cases:
        inputs = case.make(device, dtype, torch.Generator().manual_seed(0))
        sizes, taken = "", []
        for settings in candidates:
            sizes, time = _time(op, case, inputs, settings, device, seconds)
            taken.append(time)
        times[sizes].append(taken)
    return times


def _time(
    op: str, case: Case, inputs: dict[str, object], settings: Settings, device: torch.device, seconds: float
) -> tuple[str, float]:
    from triton.runtime.errors import OutOfResources

    from aphrodite_kernels.gpu.tuning import trying

    with trying(op, settings) as trial:
        try:
            taken = median_seconds(lambda: case.run(**inputs), device, seconds)
        except OutOfResources:  # the answer to whether this candidate fits
            taken = math.inf
    return trial.asked[0], taken


def best(times: Times, candidates: Sequence[Settings]) -> dict[str, Settings]:
    """Of each sizes the candidate with the smallest sum of logarithms of its time over the best one's."""
    chosen: dict[str, Settings] = {}
    for sizes, cases in times.items():
        loss = [sum(math.log(case[i] / min(case)) for case in cases) for i in range(len(candidates))]
        chosen[sizes] = candidates[loss.index(min(loss))]
    return chosen


def tune(device: torch.device, seconds: float, folder: Path, quick: bool) -> Path:
    """Write the device's file; quick: two candidates on small cases, to see that it works."""
    from aphrodite_kernels.gpu import attention as attention_on_gpu
    from aphrodite_kernels.gpu import draw as draw_on_gpu
    from aphrodite_kernels.gpu import matmul as matmul_on_gpu
    from aphrodite_kernels.gpu.tuning import device_name

    found: dict[str, dict[str, Settings]] = {}
    ops = (("matmul", matmul, matmul_on_gpu), ("attention", attention, attention_on_gpu), ("draw", draw, draw_on_gpu))
    for op, module, on_gpu in ops:
        candidates = on_gpu.CANDIDATES[:2] if quick else on_gpu.CANDIDATES
        cases = module.CASES[1:2] if quick else module.LARGE
        found[op] = best(time_candidates(op, cases, candidates, device, seconds), candidates)
    about = {"torch": torch.__version__, "device": device_name()}
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{device_name()}.json"
    file.write_text(json.dumps({"about": about, "settings": found}, indent=1) + "\n")
    return file


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m aphrodite_kernels.tune", description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seconds", type=float, default=0.02, help="of each candidate (default: %(default)s)")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent / "tuned")
    parser.add_argument("--quick", action="store_true", help="two candidates on small cases, to see that it works")
    options = parser.parse_args()
    device = torch.device(options.device)
    if backend(device.type) is not Backend.TRITON:
        raise SystemExit(f"nothing to tune on {device.type}: only the Triton kernels have settings")
    print(tune(device, options.seconds, options.folder, options.quick))


if __name__ == "__main__":
    main()
