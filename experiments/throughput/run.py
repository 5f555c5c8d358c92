"""The one command: `python experiments/throughput/run.py [--workloads ...] [--shapes ...] [--quick]`.

Writes results/*.json and refreshes the tables of README.md. A wrong output ends it with status 1 ("red gate") before
anything is timed.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

# Before transformers is imported: nothing is downloaded, and progress bars would be drawn over the figures.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
sys.path.insert(0, str(Path(__file__).parent))

import machine
import measurements
import report
import start
from lineup import Lineup
from measurements import Effort
from shapes import SHAPES, WORK, Shape

RESULTS = Path(__file__).parent / "results"
BY_SHAPE = ("overhead", "latency", "strict", "offline", "sweep")
WORKLOADS = (*BY_SHAPE, "start")

QUICK = Effort(rounds=3, prompts=8, length=32, sweep=(2, 2, 2, 256, 16), probes=2)
EFFORTS = {"30m": Effort(rounds=5), "0.6b": Effort(rounds=3, probes=2)}
#: Fewer rounds where one takes minutes: without arguments everything ends within 20 minutes on two quiet cores.
#: Figures to publish are measured with --rounds 3 or more, a workload at a time.
FEWER_ROUNDS = {("offline", "0.6b"): 2, ("latency", "0.6b"): 2, ("strict", "0.6b"): 1, ("sweep", "0.6b"): 1}


def main() -> None:
    options = _options()
    results = options.results or (WORK / "quick" if options.quick else RESULTS)
    results.mkdir(parents=True, exist_ok=True)
    if options.quick:
        for old in results.glob("*.json"):
            old.unlink()
    began = time.perf_counter()
    for name in options.shapes:
        effort = QUICK if options.quick else EFFORTS[name]
        chosen = [w for w in options.workloads if w in BY_SHAPE]
        _measure_shape(SHAPES[name], effort, chosen, options.rounds, results)
    if "start" in options.workloads:
        _measure_start(options.shapes, options.rounds or (2 if options.quick else 5), results)
    print(f"done in {time.perf_counter() - began:.0f} s", flush=True)
    if results != RESULTS:
        print(report.tables(results))
    else:
        report.refresh(results)


def _measure_shape(shape: Shape, effort: Effort, chosen: list[str], rounds: int | None, results: Path) -> None:
    if not chosen:
        return
    with Lineup(shape) as lineup:
        for workload in chosen:
            print(f"{workload} {shape.name}", flush=True)
            count = rounds or FEWER_ROUNDS.get((workload, shape.name), effort.rounds)
            found = getattr(measurements, workload)(lineup, replace(effort, rounds=count))
            _save(results / f"{workload}-{shape.name}.json", workload, shape.name, found)


def _measure_start(shapes: list[str], rounds: int, results: Path) -> None:
    print("start demo", flush=True)
    found = start.measure(rounds)
    found["load"] = {name: start.load_peaks(name) for name in shapes}
    _save(results / "start-demo.json", "start", "demo", found)


def _save(file: Path, workload: str, shape: str, found: dict[str, Any]) -> None:
    result = {"workload": workload, "shape": shape, "measured_on": machine.facts(), **found}
    file.write_text(json.dumps(result, indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--workloads", type=_list_of(WORKLOADS), default=list(WORKLOADS))
    parser.add_argument("--shapes", type=_list_of(tuple(SHAPES)), default=None)
    parser.add_argument("--quick", action="store_true", help="the 30m shape, small workloads: does everything run?")
    parser.add_argument("--rounds", type=int, default=None, help="alternations (5 for 30m, 1 to 3 for 0.6b)")
    parser.add_argument("--results", type=Path, default=None, help="another folder; README.md then stays as it is")
    options = parser.parse_args()
    options.shapes = options.shapes or (["30m"] if options.quick else list(SHAPES))
    logging.getLogger("ContinuousBatchingLogger").setLevel(logging.ERROR)
    return options


def _list_of(known: tuple[str, ...]) -> Any:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        unknown = [name for name in names if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not one of {', '.join(known)}")
        return [name for name in known if name in names]

    return parse


if __name__ == "__main__":
    main()
