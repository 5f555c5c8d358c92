"""The tables of README.md: what was to be reached and was, and all figures of every device."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.throughput import marks

#: What stands in the place of a figure that is not there.
NOT_MEASURED = "not measured (`make gpu`)"
Workloads = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Target:
    """A figure of a workload, and the least it should be."""

    what: str
    workload: str
    figure: str
    least: float
    shown: str


TARGETS = (
    Target("offline, 0.6B shape, fast, on an H100: output tok/s", "offline", "fast, output tok/s", 14_000, ",.0f"),
    Target("the same in strict, of fast", "offline", "strict / fast", 0.90, ".0%"),
    Target("decoding alone on an 8B shape, of a measured copy", "latency, 8B", "of a measured copy", 0.85, ".0%"),
    Target("the sweep's 160 requests together, against one by one", "sweep", "one by one / together", 20, ".1f"),
)


def refresh(folder: Path) -> None:
    """Write the tables of all results under `folder` into its README.md."""
    marks.rewrite(folder / "README.md", "\n".join(summary(folder)))


def summary(folder: Path) -> Iterator[str]:
    """The lines of the tables."""
    folders = sorted(file.parent for file in folder.glob("*/about.json"))
    if not folders:
        yield from targets({})
    for results in folders:
        yield from _device(results)


def _device(results: Path) -> Iterator[str]:
    about = json.loads((results / "about.json").read_text())
    yield f"### {about['device']}\n"
    yield f"torch {about['torch']}, triton {about['triton']}, commit {about['commit']}, {about['date']}.\n"
    figures = _read(results / "workloads.json", {})
    yield from targets(figures)
    yield from _workloads(figures)
    yield from _kernels(_read(results / "kernels.json", []))
    yield from beside(_read(results / "vllm.json", {}))


def targets(found: Workloads) -> Iterator[str]:
    """A line a target."""
    yield from _head("to reach", "at least", "reached", "")
    for target in TARGETS:
        value = found.get(target.workload, {}).get(target.figure)
        least = format(target.least, target.shown)
        reached = (NOT_MEASURED, "") if value is None else (format(value, target.shown), _verdict(value, target.least))
        yield _row(target.what, least, *reached)
    yield ""


def beside(found: dict[str, Any]) -> Iterator[str]:
    """Medians of ours and of vLLM in one run, workload by workload."""
    if not found:
        return
    figures: dict[str, Workloads] = found["figures"]
    yield f"Beside vLLM {found['vllm']}, in turns, commit {found['commit']}, {found['date']}:\n"
    yield from _head("workload", "figure", "ours, fast", "ours, strict", "vLLM", "fast / vLLM", "strict / vLLM")
    for workload, row in figures["vllm"].items():
        for figure, theirs in row.items():
            ours = [figures[mode][workload][figure] for mode in ("fast", "strict")]
            values = [f"{value:,.4g}" for value in (*ours, theirs)]
            yield _row(workload, figure, *values, *(f"{value / theirs:.2f}" for value in ours))
    yield ""


def _verdict(value: float, least: float) -> str:
    return "yes" if value >= least else "no"


def _workloads(found: Workloads) -> Iterator[str]:
    yield from _head("workload", "figure", "value")
    for name, row in found.items():
        for figure, value in row.items():
            yield _row(name, figure, f"{value:,.4g}")
    yield ""


def _kernels(found: list[dict[str, Any]]) -> Iterator[str]:
    yield from _head("op", "case", "µs", "GB/s", "of the roof")
    for row in found:
        yield _row(
            row["op"], row["case"], f"{row['microseconds']:,.1f}", f"{row['gb_per_s']:,.0f}", f"{row['roof']:.0%}"
        )
    yield ""


def _head(*names: str) -> Iterator[str]:
    yield _row(*names)
    yield "|---" * len(names) + "|"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _read(file: Path, otherwise: Any) -> Any:
    return json.loads(file.read_text()) if file.exists() else otherwise
