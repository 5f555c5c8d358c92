"""What one step of sampling costs: 32 rows of the common path, and 32 rows of which no two ask for the same steps.

    python experiments/samplers/cost.py [--vocab 150000] [--rounds 15]

Rounds alternate between the two, so that both see the same machine.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import torch

from aphrodite_engine.params import SamplingParams
from aphrodite_engine.sampling.history import TokenHistory
from aphrodite_engine.sampling.pipeline import plan_of, sample
from aphrodite_engine.sampling.row import SamplerRow
from aphrodite_engine.sampling.steps import uses_history, uses_suffixes
from aphrodite_engine.sampling.suffixes import SuffixMatches

COMMON: dict[str, Any] = {"temperature": 0.8, "top_k": 50, "top_p": 0.9, "min_p": 0.05}
SINGLE: list[dict[str, Any]] = [
    {"temperature": 0.8},
    {"dynatemp_min": 0.5, "dynatemp_max": 1.5},
    {"top_k": 40},
    {"top_p": 0.9},
    {"min_p": 0.05},
    {"top_a": 0.2},
    {"top_n_sigma": 1.0},
    {"tfs": 0.95},
    {"typical_p": 0.9},
    {"eta_cutoff": 3.0},
    {"epsilon_cutoff": 3.0},
    {"smoothing_factor": 0.2},
    {"xtc_probability": 0.5},
    {"skew": 0.3},
    {"repetition_penalty": 1.1},
    {"no_repeat_ngram_size": 3},
    {"dry_multiplier": 0.8, "dry_sequence_breakers": []},
    {"mirostat_mode": 2},
    {"adaptive_target": 0.3},
]
#: Two or three steps each, so that 32 rows have 32 plans.
PAIRED: list[dict[str, Any]] = [
    SINGLE[place] | SINGLE[(place + 4) % 17] | SINGLE[(place + 9) % 17] for place in range(2, 15)
]


def row(place: int, fields: dict[str, Any], vocab: int) -> SamplerRow:
    """A row that has read 500 tokens and drawn 100."""
    params = SamplingParams.from_fields(fields)
    prompt, output = [(7 * i) % 1000 for i in range(500)], [(13 * i) % 900 for i in range(100)]
    return SamplerRow(
        params=params, seed=place, sequence_index=0, position=600, token_ids=[*prompt, *output], num_output=100,
        banned_until_min=(),
        history=TokenHistory(vocab, prompt, output, torch.device("cpu")) if uses_history(params) else None,
        suffixes=SuffixMatches([*prompt, *output]) if uses_suffixes(params) else None,
    )  # fmt: skip


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--vocab", type=int, default=150_000)
    arguments.add_argument("--rounds", type=int, default=15)
    given = arguments.parse_args()
    logits = 3 * torch.randn(32, given.vocab, generator=torch.Generator().manual_seed(0))
    batches = {
        "common": [row(place, COMMON, given.vocab) for place in range(32)],
        "mixed": [row(place, fields, given.vocab) for place, fields in enumerate([*SINGLE, *PAIRED])],
    }
    plans = {plan_of(one.params) for one in batches["mixed"]}
    assert len(plans) == 32, f"{len(plans)} plans"
    times: dict[str, list[float]] = {name: [] for name in batches}
    for _ in range(given.rounds + 1):
        for name, rows in batches.items():
            values = logits.clone()
            started = time.perf_counter()
            sample(values, rows)
            times[name].append(1e3 * (time.perf_counter() - started))
    shown = {name: sorted(values[1:]) for name, values in times.items()}  # the first round warms up
    for name, values in shown.items():
        print(f"{name:8} {statistics.median(values):8.1f} ms  ({values[0]:.1f} to {values[-1]:.1f})")
    print(f"ratio    {statistics.median(shown['mixed']) / statistics.median(shown['common']):8.2f}")
    for fields in SINGLE:
        alone = [row(0, fields, given.vocab)]
        found = []
        for _ in range(5):
            values = logits[:1].clone()
            started = time.perf_counter()
            sample(values, alone)
            found.append(1e3 * (time.perf_counter() - started))
        print(f"{min(found):8.2f} ms  {fields}")


if __name__ == "__main__":
    main()
