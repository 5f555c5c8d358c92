"""What went wrong in other engines, a case each, and must not happen here."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from aphrodite_engine.params import DEFAULT_SAMPLER_ORDER, SamplingParams
from aphrodite_engine.sampling.pipeline import Drawn, plan_of, sample
from aphrodite_engine.sampling.row import SamplerRow
from tests.engine.sampling.rows import make_row

VOCAB = 300

#: Every step, switched on.
ACTIVE: dict[str, dict[str, Any]] = {
    "dry": {"dry_multiplier": 0.8, "dry_sequence_breakers": []},
    "penalties": {"repetition_penalty": 1.3, "frequency_penalty": 0.5, "presence_penalty": 0.5},
    "no_repeat_ngram": {"no_repeat_ngram_size": 2},
    "temperature": {"temperature": 0.7},
    "dynamic temperature": {"dynatemp_min": 0.3, "dynatemp_max": 1.8},
    "top_n_sigma": {"top_n_sigma": 1.0},
    "top_k": {"top_k": 20},
    "top_p": {"top_p": 0.8},
    "top_a": {"top_a": 0.3},
    "min_p": {"min_p": 0.1},
    "tfs": {"tfs": 0.9},
    "eta_cutoff": {"eta_cutoff": 30.0},
    "epsilon_cutoff": {"epsilon_cutoff": 30.0},
    "typical_p": {"typical_p": 0.7},
    "quadratic": {"smoothing_factor": 0.3, "smoothing_curve": 2.0},
    "xtc": {"xtc_probability": 0.5, "xtc_threshold": 0.02},
    "skew": {"skew": 0.5},
    "adaptive_p": {"adaptive_target": 0.3},
    "mirostat": {"mirostat_mode": 2, "mirostat_tau": 3.0},
    "greedy": {"temperature": 0},
}
REPEATED: dict[str, Any] = {"prompt": [1, 2, 3, 4, 1, 2], "output": [3, 4, 5, 1, 2]}


def logits(rows: int, vocab: int = VOCAB) -> torch.Tensor:
    return 2 * torch.randn(rows, vocab, generator=torch.Generator().manual_seed(7))


def active_row(name: str, vocab: int = VOCAB, seed: int = 11, **others: Any) -> SamplerRow:
    fields = ACTIVE[name] | {"seed": seed, "logprobs": 20, "logprobs_mode": "processed"} | others
    return make_row(SamplingParams.from_fields(fields), vocab=vocab, **REPEATED)


def distribution(drawn: Drawn) -> dict[int, float]:
    assert drawn.logprobs is not None
    return dict(drawn.logprobs.top)


def test_every_step_of_the_list_is_among_the_cases() -> None:
    assert set(DEFAULT_SAMPLER_ORDER) <= set(ACTIVE)


@pytest.mark.parametrize("name", ACTIVE)
@pytest.mark.parametrize("neighbour", ACTIVE)
def test_no_neighbour_changes_what_a_row_gets(name: str, neighbour: str) -> None:
    """n-sigma turned neighbours greedy; mirostat switched every sampler of the batch off; typical_p=1 and tfs=1 rows
    lost tokens beside active ones."""
    values = logits(3)
    rows = [active_row(neighbour), active_row(name), active_row(neighbour, seed=12)]
    assert sample(values.clone(), rows)[1] == sample(values[1:2].clone(), rows[1:2])[0]


@pytest.mark.parametrize("name", ACTIVE)
def test_a_neutral_row_beside_an_active_one_stays_the_models_own(name: str) -> None:
    values = logits(2)
    neutral = make_row(vocab=VOCAB, logprobs=20, logprobs_mode="processed", tfs=1.0, typical_p=1.0, **REPEATED)
    beside = sample(values.clone(), [active_row(name), neutral])[1]
    expected = torch.log_softmax(values[1], 0)
    assert all(logprob == expected[token].item() for token, logprob in distribution(beside).items())


def test_penalties_are_applied_once() -> None:
    values = torch.zeros(1, 4)
    (drawn,) = sample(values, [make_row(vocab=4, output=[2], frequency_penalty=0.5, logprobs=4,
                                        logprobs_mode="processed")])  # fmt: skip
    found = distribution(drawn)
    assert found[0] - found[2] == pytest.approx(0.5, abs=1e-6)


def test_listing_penalties_twice_applies_them_twice() -> None:
    order = ["penalties", "penalties"]
    row = make_row(
        vocab=4, output=[2], frequency_penalty=0.5, logprobs=4, logprobs_mode="processed", sampler_order=order
    )
    found = distribution(sample(torch.zeros(1, 4), [row])[0])
    assert found[0] - found[2] == pytest.approx(1.0, abs=1e-6)


def test_xtc_heeds_the_requests_seed() -> None:
    values = torch.zeros(400, 4)
    rows = [make_row(vocab=4, seed=i, xtc_probability=0.5, logprobs=4, logprobs_mode="processed") for i in range(400)]
    first, again = sample(values.clone(), rows), sample(values.clone(), rows)
    assert first == again
    excluded = [len(distribution(drawn)) == 1 for drawn in first]
    assert 0.4 < sum(excluded) / 400 < 0.6


def test_skew_does_not_follow_the_order_of_token_ids() -> None:
    values = torch.tensor([[3.0, 2.0, 1.0, 0.0]])
    row = make_row(vocab=4, skew=0.7, logprobs=4, logprobs_mode="processed")
    forward = distribution(sample(values.clone(), [row])[0])
    backward = distribution(sample(values.flip(1), [row])[0])
    assert {token: forward[token] for token in range(4)} == pytest.approx({t: backward[3 - t] for t in range(4)})


def test_an_order_is_the_requests_own_in_a_mixed_batch() -> None:
    values = torch.tensor([[3.0, 2.0, 1.0, 0.0]] * 3)
    common = {"temperature": 0.1, "min_p": 0.2, "vocab": 4, "logprobs": 4, "logprobs_mode": "processed"}
    rows = [make_row(**common), make_row(**common, sampler_order=["min_p", "temperature"]), make_row(**common)]
    assert [len(distribution(drawn)) for drawn in sample(values, rows)] == [1, 2, 1]


@pytest.mark.parametrize("name", ACTIVE)
def test_nothing_that_is_accepted_is_ignored(name: str) -> None:
    """Over some rows an active step must show: in what was drawn from, or in what was drawn."""
    values = logits(40)
    rows = [active_row(name, seed=seed) for seed in range(40)]
    plain = [make_row(vocab=VOCAB, seed=seed, logprobs=20, logprobs_mode="processed", **REPEATED) for seed in range(40)]
    assert sample(values.clone(), rows) != sample(values.clone(), plain)


@pytest.mark.parametrize("name", ["dry", "penalties", "no_repeat_ngram", "xtc", "typical_p", "skew"])
def test_a_step_before_temperature_acts_on_greedy_rows_too(name: str) -> None:
    step = name
    values = logits(60)
    values[:, 5] += 6.0  # the largest; it is also what the repetition would go on with
    fields = ACTIVE[name] | {"temperature": 0, "sampler_order": [step, "temperature"]}
    strong = {"xtc": {"xtc_probability": 1.0, "xtc_threshold": 0.0}, "typical_p": {"typical_p": 0.05},
              "penalties": {"repetition_penalty": 50.0}, "skew": {"skew": 5.0}, "dry": {"dry_multiplier": 100.0},
              "no_repeat_ngram": {"no_repeat_ngram_size": 1}}  # fmt: skip
    row = make_row(SamplingParams.from_fields(fields | strong[name]), vocab=VOCAB, prompt=[5, 9, 5, 9], output=[5, 9])
    assert any(drawn.token_id != 5 for drawn in sample(values, [row] * 60))


def test_a_temperature_that_the_order_leaves_out_is_off() -> None:
    assert not plan_of(SamplingParams(temperature=0, sampler_order=["top_k"])).greedy
    assert plan_of(SamplingParams(temperature=0)).greedy


@pytest.mark.slow
@pytest.mark.parametrize("name", ACTIVE)
def test_a_long_row_gets_the_same_alone_and_in_company(name: str) -> None:
    """torch splits sums of 32,768 numbers and more between threads, but only of a row that is alone."""
    values = logits(3, 150_001)
    rows = [active_row(name, vocab=150_001, seed=seed) for seed in range(3)]
    together = sample(values.clone(), rows)
    assert [sample(values[r : r + 1].clone(), [row])[0] for r, row in enumerate(rows)] == together
