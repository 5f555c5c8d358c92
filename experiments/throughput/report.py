"""README.md's tables, from results/*.json: `python experiments/throughput/report.py` writes them anew."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from marks import rewrite  # pyright: ignore[reportMissingImports]

README = Path(__file__).with_name("README.md")
RESULTS = Path(__file__).parent / "results"

Result = dict[str, Any]
Row = tuple[str, ...]


def refresh(results: Path = RESULTS) -> None:
    """Put the current tables between the README's two marks."""
    rewrite(README, tables(results))


def tables(results: Path) -> str:
    """The verdict table, then one table a workload, in Markdown."""
    found = [json.loads(file.read_text()) for file in sorted(results.glob("*.json"))]
    verdicts = [row for result in found for row in _verdicts(result)] + list(_not_measured(found))
    parts = [_table(("target", "shape", "asked", "measured", "reached"), verdicts)]
    for workload, title, rows, head in _DETAILS:
        lines = [row for result in found if result["workload"] == workload for row in rows(result)]
        if lines:
            parts.append(f"### {title}\n\n{_table(head, lines)}")
    return "\n".join([*parts, _measured_on(found)])


def _verdicts(result: Result) -> Iterator[Row]:
    for name, low, value in _targets(result):
        good = value >= low if name.endswith("at least") else value <= low
        verdict = "yes" if good else "**no**"
        yield name.rsplit(",", 1)[0], result["shape"], _asked(name, low), _number(value), verdict


def _not_measured(found: list[Result]) -> Iterator[Row]:
    """What a figure is missing for, with the command that would give it."""
    there = {(result["workload"], result["shape"]) for result in found}
    for workload, shape in _EXPECTED:
        if (workload, shape) not in there:
            yield workload, shape, "", f"not measured: `run.py --workloads {workload} --shapes {shape}`", ""


def _targets(result: Result) -> Iterator[tuple[str, float, float]]:
    """(what, at least or at most; the limit; the measured value)."""
    workload = result["workload"]
    if workload == "offline":
        yield "offline, times transformers generate, at least", 3.0, result["ratios"]["padded"]
        yield "offline, times its continuous batching, at least", 3.0, result["ratios"]["continuous"]
    elif workload == "latency":
        asked = 3.0 if result["shape"] == "30m" else 1.0
        yield "batch 1, times transformers with a static cache, at least", asked, result["ratios"]["static"]
    elif workload == "sweep":
        yield "sweep together, times one by one, at least", 6.0, result["ratios"]["one by one"]
    elif workload == "strict":
        yield "strict, share of time above fast, at most", 0.15, 1 / result["ratios"]["fast"] - 1
    elif workload == "overhead" and result["shape"] == "30m":
        for step in result["steps"]:
            asked = 0.15 if step["name"] == "batch 8" else 0.30
            yield f"share of a step outside tensor ops ({step['name']}), at most", asked, step["share"]["outside ops"]
    elif workload == "start":
        yield "seconds to the first token, warm, at most", 6.0, statistics.median(result["seconds"]["ours"])
        yield "seconds to the first token, first start ever, at most", 6.0, result["cold"]
        yield "MB resident after an answer, at most", 900.0, result["resident"]["ours"] / 1e6
        # Of a small model, fixed costs of a few MB are a large multiple.
        for shape, loads in ((shape, loads) for shape, loads in result["load"].items() if shape == "0.6b"):
            for dtype in ("float32", "bfloat16"):
                peak = _multiple(loads[f"ours {dtype}"])
                yield f"peak while {shape} loads as {dtype}, times its weights, at most", 1.15, peak


def _asked(name: str, low: float) -> str:
    return ("≥ " if name.endswith("at least") else "≤ ") + _number(low)


def _throughput_rows(result: Result) -> Iterator[Row]:
    for name, rate in result["tokens_per_s"].items():
        yield result["shape"], _NAMES[name], f"{rate:,.0f}", *_ratios(result, name), _rounds(result, name)


def _latency_rows(result: Result) -> Iterator[Row]:
    for name, rate in result["gb_per_s"].items():
        per_token = statistics.median(result["decode_seconds_per_token"][name])
        share = f"{100 * rate / result['copy_gb_per_s']:.0f} %"
        ratios = _cell(result["ratios"].get(name)), _cell(result["decode_ratios"].get(name))
        yield result["shape"], _NAMES[name], f"{1 / per_token:.1f}", f"{rate:.1f}", share, *ratios


def _sweep_rows(result: Result) -> Iterator[Row]:
    for name in result["seconds"]:
        scaled = "" if name == "together" else f", {result['probes']} of {result['requests']} sent"
        yield result["shape"], _NAMES[name] + scaled, *_ratios(result, name), _rounds(result, name)


def _start_rows(result: Result) -> Iterator[Row]:
    for name, stages in result["stages"].items():
        moments = [f"{stages[stage]:.2f}" for stage in ("imported", "loaded", "first_token", "processor")]
        yield (name, *moments, f"{result['resident'][name] / 1e6:,.0f}")


def _load_rows(result: Result) -> Iterator[Row]:
    for shape, loads in result["load"].items():
        for name, load in loads.items():
            yield shape, name, f"{load['weights'] / 1e6:,.0f}", f"{load['peak'] / 1e6:,.0f}", f"{_multiple(load):.2f}"


def _overhead_rows(result: Result) -> Iterator[Row]:
    for step in result["steps"]:
        ms, share = step["milliseconds"], step["share"]
        layers = [layer for layer in ("model", "ops", "native") if layer in ms]
        cells = [f"{ms[layer]:.2f} ms ({100 * share[f'outside {layer}']:.0f} %)" for layer in layers]
        yield (result["shape"], step["name"], f"{ms['step']:.2f} ms", *cells, _largest_ops(ms))


def _largest_ops(milliseconds: dict[str, float], count: int = 4) -> str:
    ops = {name[4:]: value for name, value in milliseconds.items() if name.startswith("ops.")}
    largest = sorted(ops, key=lambda name: -ops[name])[:count]
    return ", ".join(f"{name} {100 * ops[name] / milliseconds['step']:.0f} %" for name in largest)


def _multiple(load: dict[str, float]) -> float:
    return load["peak"] / load["weights"]


def _ratios(result: Result, name: str) -> tuple[str, str]:
    """In wall-clock and in processor time."""
    return _cell(result["ratios"].get(name)), _cell(result["cpu_ratios"].get(name))


def _cell(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def _rounds(result: Result, name: str) -> str:
    return " ".join(f"{value:.2f}" for value in result["seconds"][name])


def _measured_on(found: list[Result]) -> str:
    """One line a distinct machine and version."""
    keys = ("device", "dtype", "torch", "triton", "transformers", "commit", "date")
    lines = {"; ".join(f"{key} {r['measured_on'][key]}" for key in keys) for r in found}
    return "\n".join(f"Measured on: {line}." for line in sorted(lines)) + "\n"


def _table(head: Row, rows: list[Row]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in (head, tuple("---" for _ in head), *rows)]
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.2f}"


_EXPECTED = [(workload, shape) for workload in ("offline", "latency", "sweep", "strict") for shape in ("0.6b", "30m")]
_EXPECTED += [("overhead", "30m"), ("start", "demo")]

_NAMES = {
    "ours": "Aphrodite",
    "strict": "Aphrodite, strict",
    "fast": "Aphrodite, fast",
    "padded": "transformers generate, padded batch of 32",
    "continuous": "transformers continuous batching",
    "static": "transformers, static cache",
    "dynamic": "transformers, dynamic cache",
    "together": "Aphrodite, together",
    "one by one": "Aphrodite, one by one",
    "transformers": "transformers, one by one",
}

_DETAILS: tuple[tuple[str, str, Callable[[Result], Iterator[Row]], Row], ...] = (
    (
        "offline",
        "Offline",
        _throughput_rows,
        ("shape", "who", "tokens/s", "times our time", "processor time", "seconds of each round"),
    ),
    (
        "latency",
        "Latency, batch 1",
        _latency_rows,
        ("shape", "who", "tokens/s decoding", "GB/s", "of a copy", "whole request, times ours", "decoding, times ours"),
    ),
    ("sweep", "Sweep", _sweep_rows, ("shape", "who", "times together", "processor time", "seconds of each round")),
    (
        "strict",
        "Strict",
        _throughput_rows,
        ("shape", "who", "tokens/s", "times strict", "processor time", "seconds of each round"),
    ),
    (
        "overhead",
        "A decode step (share of it outside each layer)",
        _overhead_rows,
        ("shape", "step of", "whole", "model and sampler", "kernel and tensor ops", "C functions", "largest ops"),
    ),
    (
        "start",
        "Start (seconds since the process began, the bundled model)",
        _start_rows,
        ("who", "imported", "loaded", "first token", "processor seconds until then", "MB resident"),
    ),
    (
        "start",
        "Loading a checkpoint (bfloat16 on disk)",
        _load_rows,
        ("shape", "who, as", "weights MB", "peak MB", "times the weights"),
    ),
)

if __name__ == "__main__":
    refresh()
