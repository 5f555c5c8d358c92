"""A B A B ...: contestants take turns, so that a machine's slow minute hits all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Samples = dict[str, list[float]]


@dataclass(frozen=True)
class Alternated:
    """Wall-clock and processor seconds of each contestant, one entry a round.

    Processor time says what a contestant costs where a busy machine makes wall-clock times swing; threads that spin
    while they wait for each other count as busy.
    """

    seconds: Samples
    cpu_seconds: Samples

    def median(self, name: str) -> float:
        return statistics.median(self.seconds[name])

    def ratios(self, faster: str) -> dict[str, float]:
        """How many times `faster` beats each other one: the median over rounds of the ratio within a round."""
        return {name: ratio(self.seconds, name, faster) for name in self.seconds if name != faster}

    def cpu_ratios(self, faster: str) -> dict[str, float]:
        """The same in processor time."""
        return {name: ratio(self.cpu_seconds, name, faster) for name in self.seconds if name != faster}


def ratio(samples: Samples, slower: str, faster: str) -> float:
    """Median over rounds of slower / faster."""
    return statistics.median(a / b for a, b in zip(samples[slower], samples[faster], strict=True))


def alternate(contestants: Mapping[str, Callable[[], float | None]], rounds: int) -> Alternated:
    """Run everyone once a round. A contestant that did only a part of the work returns what to multiply its time by."""
    found = Alternated({name: [] for name in contestants}, {name: [] for name in contestants})
    for number in range(rounds):
        for name, action in contestants.items():
            start, cpu_start = time.perf_counter(), time.process_time()
            factor = action() or 1.0
            found.seconds[name].append((time.perf_counter() - start) * factor)
            found.cpu_seconds[name].append((time.process_time() - cpu_start) * factor)
            spent = f"{found.seconds[name][-1]:.3f} s (processor {found.cpu_seconds[name][-1]:.3f} s)"
            print(f"  round {number + 1}/{rounds} {name}: {spent}", flush=True)
    return found
