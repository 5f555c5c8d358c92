"""One function a workload: who runs what, in turns, and what is kept of it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import gate
import machine
import workloads
from alternation import Alternated, alternate, ratio
from lineup import Lineup
from overhead import decode_step, sweep_step
from peers import Contestant
from workloads import Job


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Attributes:
        rounds: alternations.
        prompts, length: of the offline workload.
        sweep: (temperatures, top_p values, seeds, prompt length, new tokens).
        probes: requests that are really sent one by one; their mean stands for all of the sweep's.
    """

    rounds: int
    prompts: int = workloads.CPU_PROMPTS
    length: int = workloads.CPU_LENGTH
    sweep: tuple[int, int, int, int, int] = (8, 5, 4, 1024, 64)
    probes: int = 8


def offline(lineup: Lineup, effort: Effort) -> dict[str, Any]:
    """32 requests at once: ours, transformers' padded batch, transformers' continuous batching."""
    jobs = workloads.offline_on_cpu(effort.prompts, effort.length)
    with closing(lineup.continuous(workloads.greedy()[0])) as greedy:
        gate.same_greedy_tokens(lineup.one_by_one, {"continuous": greedy, "padded": lineup.padded, "ours": lineup.ours})
    with closing(lineup.continuous(jobs[0])) as continuous:
        contestants = {"ours": lineup.ours, "padded": lineup.padded, "continuous": continuous}
        timed = _take_turns(contestants, jobs, effort.rounds)
    return _throughput(timed, jobs, "ours")


def strict(lineup: Lineup, effort: Effort) -> dict[str, Any]:
    """The offline workload: reproducible to the bit (our default) against whatever torch finds fastest."""
    jobs = workloads.offline_on_cpu(effort.prompts, effort.length)
    gate.same_greedy_tokens(lineup.one_by_one, {"strict": lineup.ours, "fast": lineup.fast})
    timed = _take_turns({"strict": lineup.ours, "fast": lineup.fast}, jobs, effort.rounds)
    return _throughput(timed, jobs, "strict")


def latency(lineup: Lineup, effort: Effort) -> dict[str, Any]:
    """One request alone; its decoding as bytes of weights and cache read each second."""
    job = workloads.latency(effort.length)
    gate.same_greedy_tokens(lineup.one_by_one, {"static": lineup.static, "ours": lineup.ours})
    decode: dict[str, list[float]] = {"ours": [], "static": [], "dynamic": []}
    peers = {"static": lineup.static, "dynamic": lineup.one_by_one}

    def timed(name: str, contestant: Contestant, generate: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            generate()
            decode[name].append((time.perf_counter() - contestant.first_token_at) / (job.max_tokens - 1))

        return run

    actions = {"ours": timed("ours", lineup.ours, lambda: lineup.ours.stream(job))}
    for name, peer in peers.items():
        actions[name] = timed(name, peer, lambda peer=peer: peer.generate([job]))
    _warm_up(actions, decode)
    bandwidth = machine.copy_bandwidth()
    whole = alternate(actions, effort.rounds)
    tokens = len(job.prompt) + job.max_tokens / 2
    step_bytes = 4 * lineup.shape.num_parameters + lineup.shape.kv_bytes_per_token * tokens
    return {
        "seconds": whole.seconds,
        "cpu_seconds": whole.cpu_seconds,
        "decode_seconds_per_token": decode,
        "copy_gb_per_s": bandwidth,
        "bytes_per_token": step_bytes,
        "gb_per_s": {name: step_bytes / statistics.median(decode[name]) / 1e9 for name in decode},
        "ratios": whole.ratios("ours"),
        "cpu_ratios": whole.cpu_ratios("ours"),
        "decode_ratios": {name: ratio(decode, name, "ours") for name in peers},
    }


def sweep(lineup: Lineup, effort: Effort) -> dict[str, Any]:
    """One prompt at 160 settings: submitted together, against one by one (a sample of them, scaled up)."""
    jobs = workloads.sweep(*effort.sweep)
    probes = jobs[:: max(1, len(jobs) // effort.probes)][: effort.probes]
    gate.same_greedy_tokens(lineup.one_by_one, {"ours": lineup.ours})

    def together() -> None:
        gate.right_lengths("ours", lineup.ours.generate(jobs), jobs)

    def scaled(contestant: Contestant) -> Callable[[], float]:
        return lambda: _one_by_one(contestant, probes, len(jobs))

    lineup.ours.generate(workloads.shortened(jobs, 2))
    lineup.one_by_one.generate(workloads.shortened(probes[:1], 2))
    actions = {"together": together, "one by one": scaled(lineup.ours), "transformers": scaled(lineup.one_by_one)}
    timed = alternate(actions, effort.rounds)
    return {
        "requests": len(jobs),
        "prompt_tokens": len(jobs[0].prompt),
        "new_tokens": jobs[0].max_tokens,
        "probes": len(probes),
        "seconds": timed.seconds,
        "cpu_seconds": timed.cpu_seconds,
        "ratios": timed.ratios("together"),
        "cpu_ratios": timed.cpu_ratios("together"),
    }


def overhead(lineup: Lineup, effort: Effort) -> dict[str, Any]:
    """Where a decode step's time goes, and what of it lies outside tensor ops."""
    gate.same_greedy_tokens(lineup.one_by_one, {"ours": lineup.ours})
    steps = [decode_step(lineup.ours, batch) for batch in (1, 8, 32)]
    return {"steps": [*steps, sweep_step(lineup.ours, workloads.sweep(*effort.sweep))]}


def _take_turns(contestants: dict[str, Contestant], jobs: list[Job], rounds: int) -> Alternated:
    def run(name: str, contestant: Contestant) -> Callable[[], None]:
        return lambda: gate.right_lengths(name, contestant.generate(jobs), jobs)

    for contestant in contestants.values():
        contestant.generate(workloads.shortened(jobs, 4))
    return alternate({name: run(name, contestant) for name, contestant in contestants.items()}, rounds)


def _throughput(timed: Alternated, jobs: Sequence[Job], ours: str) -> dict[str, Any]:
    tokens = sum(job.max_tokens for job in jobs)
    return {
        "requests": len(jobs),
        "prompt_tokens": sum(len(job.prompt) for job in jobs),
        "new_tokens": tokens,
        "seconds": timed.seconds,
        "cpu_seconds": timed.cpu_seconds,
        "tokens_per_s": {name: tokens / timed.median(name) for name in timed.seconds},
        "ratios": timed.ratios(ours),
        "cpu_ratios": timed.cpu_ratios(ours),
    }


def _one_by_one(contestant: Contestant, probes: Sequence[Job], stand_for: int) -> float:
    """Send each alone; returns how many requests one of them stands for."""
    for job in probes:
        gate.right_lengths("one by one", contestant.generate([job]), [job])
    return stand_for / len(probes)


def _warm_up(actions: dict[str, Callable[[], None]], decode: dict[str, list[float]]) -> None:
    for name, action in actions.items():
        action()
        decode[name].clear()
