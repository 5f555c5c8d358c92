"""Tables in README.md from the files in results/."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from marks import rewrite  # pyright: ignore[reportMissingImports]

LAYERS = {
    "bare": "bare uvicorn application, a constant",
    "http": "GET /v1/models",
    "bare_engine": "bare uvicorn application that asks the null engine for 80 tokens",
    "chat": "chat, null engine, 80 tokens",
}
Target = tuple[str, str, str, bool]


def refresh(results: Path, readme: Path) -> None:
    """Rewrite what stands between the marks."""
    rewrite(readme, tables(results))


def tables(results: Path) -> str:
    """Everything that was measured."""
    found = {file.stem: json.loads(file.read_text()) for file in sorted(results.glob("*.json"))}
    rows = [(what, asked, got, "yes" if good else "no") for what, asked, got, good in _targets(found)]
    blocks = [_table(("target", "asked", "measured", "reached"), rows)]
    if "layers" in found:
        blocks.append("### Layers (16 connections, closed loop)\n\n" + _layers(found["layers"]))
    if "cost" in found:
        blocks.append("### Processor time of the serving process\n\n" + _cost(found["cost"]))
    if "serve" in found:
        blocks.append("### Serve (32 tokens a request, streamed)\n\n" + _serve(found["serve"]))
    lines = sorted({_machine(part["measured_on"]) for part in found.values()})
    return "\n\n".join([*blocks, "\n".join(lines)])


def _targets(found: dict[str, Any]) -> Iterable[Target]:
    if layers := found.get("layers"):
        for name, words in (
            ("http", "a route that asks no engine"),
            ("chat", "a chat answer of 80 tokens, both with the null engine"),
        ):
            ratio, added = layers["ratios"][name], layers["added_p99_ms"][name]
            yield f"requests/s, share of bare uvicorn: {words}", "≥ 0.70", f"{ratio:.2f}", ratio >= 0.7
            yield f"added p99 at 16 connections: {words}", "≤ 5 ms", f"{added:.1f} ms", added <= 5
    if streams := found.get("streams"):
        p99 = statistics.median(streams["ours_itl_p99_ms"])
        bare = statistics.median(streams["bare_itl_p99_ms"])
        yield "200 streams, 20 ms a token: inter-token p99", "≤ 40 ms", f"{p99:.1f} ms (bare: {bare:.1f})", p99 <= 40
        yield "of them truncated", "0", str(streams["truncated"]), streams["truncated"] == 0
    if offline := found.get("offline"):
        lost = statistics.median(offline["lost"])
        yield "offline throughput lost to HTTP, 0.6B shape", "≤ 10 %", f"{100 * lost:.1f} %", lost <= 0.1
    if cancel := found.get("cancel"):
        slowest = max(cancel["seconds"])
        yield "cancel to free slot, slowest", "≤ 1 s", f"{slowest:.2f} s", slowest <= 1
    if memory := found.get("memory"):
        for name, grown in memory["grown_mb"].items():
            yield f"memory grown over 10,000 requests, {name}", "≤ 10 MB", f"{grown:.1f} MB", grown <= 10


def _layers(part: dict[str, Any]) -> str:
    rows = [
        (
            LAYERS[name],
            f"{statistics.median(rates):,.0f}",
            " ".join(f"{rate:,.0f}" for rate in rates),
            f"{statistics.median(part['p99_ms'][name]):.1f}",
        )
        for name, rates in part["requests_per_s"].items()
    ]
    return _table(("who", "requests/s", "of each round", "p99 ms"), rows)


def _cost(part: dict[str, Any]) -> str:
    medians = {name: statistics.median(values) for name, values in part["microseconds"].items()}
    rows = [(name, f"{us:.1f}", f"{medians['bare'] / us:.2f}") for name, us in medians.items()]
    return _table(("who", "us a request", "bare / this"), rows)


def _serve(part: dict[str, Any]) -> str:
    names = ("requests_per_s", "tokens_per_s", "ttft_p50_ms", "ttft_p99_ms", "itl_p50_ms", "itl_p99_ms", "tpot_p50_ms")
    rows = [
        (row["engine"], row["arrivals"], *(f"{row[name]:,.1f}" for name in names), f"{row['goodput_per_s']:.1f}")
        for row in part["rows"]
    ]
    return _table(("engine", "arrivals", *names, "goodput/s"), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _machine(facts: dict[str, Any]) -> str:
    names = ("device", "dtype", "torch", "transformers", "commit", "date", "load_average")
    return "Measured on: " + "; ".join(f"{name} {facts[name]}" for name in names if name in facts) + "."
