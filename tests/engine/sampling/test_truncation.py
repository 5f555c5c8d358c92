"""Steps that drop tokens, each against a slow float64 reference written from its formula."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aphrodite_engine.params import SamplingParams
from aphrodite_engine.sampling.steps import STEPS
from tests.engine.sampling.rows import logit_rows, make_row, softmax64
from tests.engine.sampling.test_steps import EDGE, apply, assert_masked

Keep = np.ndarray


def entropy64(p: np.ndarray) -> float:
    return -sum(x * math.log(x) for x in p if x > 0)


def order64(p: np.ndarray) -> list[int]:
    """Ids by probability, of equals the lower id first."""
    return sorted(range(len(p)), key=lambda i: (-p[i], i))


# ---- thresholds: what is well above must stay, what is well below must go


def top_a(p: np.ndarray, a: float) -> float:
    return a * p.max() ** 2


def eta_cutoff(p: np.ndarray, e: float) -> float:
    return min(e * 1e-4, math.sqrt(e * 1e-4) * math.exp(-entropy64(p)))


def epsilon_cutoff(p: np.ndarray, e: float) -> float:
    return e * 1e-4


@pytest.mark.parametrize(
    ("name", "floor_of", "values"),
    [
        ("top_a", top_a, [0.01, 0.2, 1.0, 3.0, 1e6]),
        ("eta_cutoff", eta_cutoff, [0.1, 3.0, 100.0, 9999.0]),
        ("epsilon_cutoff", epsilon_cutoff, [0.1, 3.0, 100.0, 9999.0]),
    ],
)
@given(logits=logit_rows(), place=st.integers(0, 4))
def test_a_threshold_drops_what_is_below_it(
    name: str,
    floor_of: Callable[[np.ndarray, float], float],
    values: list[float],
    logits: torch.Tensor,
    place: int,
) -> None:
    value = values[place % len(values)]
    after = apply(name, logits, [make_row(SamplingParams.from_fields({name: value}))] * len(logits))
    p = softmax64(logits)
    floors = np.array([floor_of(row, value) for row in p])[:, None]
    best = logits.numpy() == logits.numpy().max(axis=1, keepdims=True)
    assert_masked(logits, after, (p >= floors * (1 + EDGE) + 1e-30) | best, (p >= floors * (1 - EDGE)) | best)


def test_a_threshold_above_every_token_keeps_those_that_tie_for_the_first_place() -> None:
    logits = torch.tensor([[1.0, 2.0, 2.0, 0.0]])
    for name, value in (("top_a", 1e6), ("epsilon_cutoff", 1e4), ("eta_cutoff", 1e4)):
        kept = apply(name, logits, [make_row(SamplingParams.from_fields({name: value}))])[0] > -torch.inf
        assert kept.tolist() == [False, True, True, False], name


@given(logit_rows(), st.sampled_from([0.1, 0.7, 1.0, 2.5, 100.0]))
def test_top_n_sigma_keeps_what_is_within_n_deviations_of_the_largest(logits: torch.Tensor, n: float) -> None:
    after = apply("top_n_sigma", logits, [make_row(top_n_sigma=n)] * len(logits))
    values = logits.double().numpy()
    deviation = np.array([[row[np.isfinite(row)].std()] for row in values])
    distance = values.max(axis=1, keepdims=True) - values
    edge = EDGE * (1 + np.abs(values.max(axis=1, keepdims=True)) + n * deviation)
    assert_masked(logits, after, distance <= n * deviation - edge, distance <= n * deviation + edge)


def test_top_n_sigma_leaves_out_impossible_tokens_of_the_deviation() -> None:
    logits = torch.full((2, 100), -torch.inf)
    logits[0, :4] = logits[1, 50:54] = torch.tensor([3.0, 2.0, 1.0, 0.0])
    kept = apply("top_n_sigma", logits, [make_row(top_n_sigma=1.0)] * 2) > -torch.inf  # deviation 1.118
    assert kept.sum(1).tolist() == [2, 2]


# ---- sorted prefixes: the reference's set, where no sum is too near the mark


def tfs(p: np.ndarray, z: float) -> tuple[list[int], float]:
    """Ids to keep, and how near a sum came to z."""
    ids = order64(p)
    ordered = [p[i] for i in ids]
    d2 = [abs(ordered[i + 2] - 2 * ordered[i + 1] + ordered[i]) for i in range(len(p) - 2)]
    total = sum(d2)
    if total == 0:
        return ids, 1.0
    sums = np.cumsum(d2) / total
    keep = [ids[0]] + [ids[j] for j in range(1, len(p) - 1) if sums[j - 1] <= z]
    return keep, float(np.abs(sums - z).min())


@given(logit_rows(), st.sampled_from([0.05, 0.5, 0.9, 0.99]))
def test_tail_free_sampling_cuts_where_the_curvature_is_used_up(logits: torch.Tensor, z: float) -> None:
    after = apply("tfs", logits, [make_row(tfs=z)] * len(logits))
    for before, line, p in zip(logits, after, softmax64(logits), strict=True):
        keep, nearest = tfs(p, z)
        kept = (line > -torch.inf).nonzero().flatten().tolist()
        possible = {i for i in keep if before[i] > -torch.inf}
        assert torch.equal(line[kept], before[kept])
        if nearest > 1e-4 and np.abs(np.diff(np.sort(p[p > 0]))).min(initial=1.0) > 1e-7:
            assert set(kept) == possible
        assert len(kept) >= 1


@pytest.mark.parametrize("vocab", [1, 2, 3, 50])
def test_tail_free_sampling_leaves_equal_tokens_alone(vocab: int) -> None:
    logits = torch.zeros(1, vocab)
    assert torch.equal(apply("tfs", logits, [make_row(tfs=0.1)]), logits)


def test_tail_free_sampling_by_hand() -> None:
    logits = torch.tensor([[0.5, 0.25, 0.15, 0.07, 0.03]]).log()
    # d2 = 0.15, 0.02, 0.04 of 0.21: sums 0.714, 0.81, 1
    kept = [int((apply("tfs", logits, [make_row(tfs=z)]) > -torch.inf).sum()) for z in (0.5, 0.75, 0.9, 0.999)]
    assert kept == [1, 2, 3, 3]


def typical(p: np.ndarray, mass: float) -> tuple[list[int], float]:
    surprise = entropy64(p)
    ids = sorted((i for i in range(len(p)) if p[i] > 0), key=lambda i: (abs(-math.log(p[i]) - surprise), i))
    sums = np.cumsum([p[i] for i in ids])
    count = int((sums < mass).sum()) + 1
    keys = np.array([abs(-math.log(p[i]) - surprise) for i in ids])
    gap = float(np.diff(keys)[max(0, count - 2) : count].min(initial=1.0))
    return ids[:count], min(float(np.abs(sums - mass).min()), gap)


@given(logit_rows(), st.sampled_from([0.05, 0.3, 0.6, 0.95]))
def test_typical_p_keeps_the_tokens_of_nearly_expected_surprise(logits: torch.Tensor, mass: float) -> None:
    after = apply("typical_p", logits, [make_row(typical_p=mass)] * len(logits))
    for before, line, p in zip(logits, after, softmax64(logits), strict=True):
        keep, nearest = typical(p, mass)
        kept = (line > -torch.inf).nonzero().flatten().tolist()
        assert kept and torch.equal(line[kept], before[kept])
        if nearest > 1e-4:
            assert set(kept) == set(keep)


def test_typical_p_may_drop_the_most_likely_token() -> None:
    p = torch.tensor([[0.5] + [0.5 / 60] * 60])  # H = 2.74: 0.69 of surprise is further from it than 4.79
    kept = (apply("typical_p", p.log(), [make_row(vocab=61, typical_p=0.2)]) > -torch.inf)[0]
    assert not kept[0] or kept.sum() == 1
    assert kept.sum() >= 1


# ---- xtc


def xtc(p: np.ndarray, threshold: float, possible: np.ndarray) -> set[int]:
    """Ids that are masked when the coin says so."""
    top = [i for i in range(len(p)) if p[i] >= threshold and possible[i]]
    if len(top) < 2:
        return set()
    spared = min(top, key=lambda i: (p[i], -i))
    return set(top) - {spared}


@given(logit_rows(), st.sampled_from([0.0, 0.01, 0.1, 0.3]))
def test_xtc_drops_all_top_choices_but_the_least_likely(logits: torch.Tensor, threshold: float) -> None:
    rows = [make_row(xtc_threshold=threshold, xtc_probability=1.0)] * len(logits)
    after = STEPS["xtc"].apply(logits, rows, 0x100)
    for before, line, p in zip(logits, after, softmax64(logits), strict=True):
        possible = (before > -torch.inf).numpy()
        kept = (line > -torch.inf).nonzero().flatten().tolist()
        assert kept and torch.equal(line[kept], before[kept])
        gaps: np.ndarray = np.diff(np.sort(p[possible]))
        if np.abs(p - threshold).min() > 1e-6 and (gaps[gaps > 0].min(initial=1.0) > 1e-6):
            masked = {i for i in range(len(p)) if possible[i]} - set(kept)
            if p[possible].min() > 1e-6:
                assert masked == xtc(p, threshold, possible)


def test_xtc_tosses_a_coin_of_its_own_for_every_row_and_position() -> None:
    logits = torch.tensor([[1.0, 1.0, 0.0]]).repeat(4000, 1)
    rows = [make_row(seed=i // 4, position=i % 4, xtc_threshold=0.2, xtc_probability=0.25) for i in range(4000)]
    first = STEPS["xtc"].apply(logits, rows, 0x100)
    excluded = (first == -torch.inf).any(1)
    assert 0.22 < excluded.float().mean() < 0.28
    assert torch.equal(first, STEPS["xtc"].apply(logits, rows, 0x100))
    assert not torch.equal(first, STEPS["xtc"].apply(logits, rows, 0x101)), "a second xtc tosses again"


@pytest.mark.parametrize("p", [[0.9, 0.05, 0.05], [1.0, 0.0, 0.0]])
def test_xtc_with_fewer_than_two_top_choices_does_nothing(p: list[float]) -> None:
    logits = torch.tensor([p]).log()
    row = make_row(vocab=3, xtc_threshold=0.1, xtc_probability=1.0)
    assert torch.equal(STEPS["xtc"].apply(logits, [row], 0x100), logits)
