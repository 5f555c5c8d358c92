"""A B A B ...: contestants take turns, so that a machine's slow minute hits all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Samples = dict[str, list[float]]


@dataclass(frozen=True)
class Alternated:
    """Seconds of each contestant, one entry a round."""

    seconds: Samples

    def median(self, name: str) -> float:
        return statistics.median(self.seconds[name])

    def ratio(self, slower: str, faster: str) -> float:
        """How many times `faster` beats `slower`: the median over rounds of the ratio within a round."""
        pairs = zip(self.seconds[slower], self.seconds[faster], strict=True)
        return statistics.median(a / b for a, b in pairs)


def alternate(contestants: Mapping[str, Callable[[], float | None]], rounds: int) -> Alternated:
    """Run everyone once a round. A contestant may return its own seconds; otherwise its call is timed."""
    seconds: Samples = {name: [] for name in contestants}
    for number in range(rounds):
        for name, action in contestants.items():
            start = time.perf_counter()
            own = action()
            seconds[name].append(time.perf_counter() - start if own is None else own)
            print(f"  round {number + 1}/{rounds} {name}: {seconds[name][-1]:.3f} s", flush=True)
    return Alternated(seconds)
