"""Steps that move probability, each against a slow float64 reference written from its formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.sampling.rows import logit_rows, make_row, softmax64
from tests.engine.sampling.test_steps import apply
from tests.engine.sampling.test_truncation import entropy64, order64


@given(
    logit_rows(),
    st.sampled_from([(0.0, 1.0), (0.2, 0.2), (0.5, 4.0)]),
    st.sampled_from([0.0, 0.5, 1.0, 3.0]),
)
def test_a_dynamic_temperature_grows_with_the_entropy(
    logits: torch.Tensor, bounds: tuple[float, float], exponent: float
) -> None:
    low, high = bounds
    row = make_row(dynatemp_min=low, dynatemp_max=high, dynatemp_exponent=exponent)
    after = apply("dynamic_temperature", logits, [row] * len(logits))
    for before, line, p in zip(logits, after, softmax64(logits), strict=True):
        count = int((before > -torch.inf).sum())
        share = 0.0 if count < 2 else entropy64(p) / math.log(count)
        heat = max(1e-6, low + (high - low) * min(1.0, share) ** exponent)
        # Near T = 0 a rounding of the entropy is a large part of it.
        if heat > 1e-3:
            np.testing.assert_allclose(line.double(), before.double() / heat, rtol=1e-4)
        assert not line.isnan().any()


@given(logit_rows(), st.sampled_from([0.05, 0.3, 2.0]), st.sampled_from([1.0, 1.7, 3.0, 10.0]))
def test_quadratic_bends_the_logits_around_the_largest(logits: torch.Tensor, f: float, c: float) -> None:
    after = apply("quadratic", logits, [make_row(smoothing_factor=f, smoothing_curve=c)] * len(logits))
    values = logits.double().numpy()
    best = values.max(axis=1, keepdims=True)
    for line, row, top in zip(after.double().numpy(), values, best[:, 0], strict=True):
        for bent, value in zip(line, row, strict=True):
            if value == -np.inf:
                assert bent == -np.inf
                continue
            d, k, s = value - top, f * (3 - c) / 2, f * (c - 1) / 2
            expected = top + d * d * (s * d - k)
            assert bent == pytest.approx(expected, rel=1e-4, abs=1e-4 * (1 + abs(d) ** 3 * f * c))


@given(logit_rows(), st.sampled_from([-3.0, -0.5, 0.5, 3.0]))
def test_skew_raises_the_running_sum_to_a_power(logits: torch.Tensor, s: float) -> None:
    after = apply("skew", logits, [make_row(skew=s)] * len(logits))
    for line, p in zip(softmax64(after), softmax64(logits), strict=True):
        ids = order64(p)
        mass = np.minimum(1.0, np.cumsum(p[ids])) ** math.exp(s)
        expected = np.diff(mass, prepend=0.0)
        # Tokens that tie, or nearly, may change places; the sorted shares are the same.
        np.testing.assert_allclose(np.sort(line), np.sort(expected), atol=2e-5)
        if np.abs(np.diff(np.sort(p[p > 0]))).min(initial=1.0) > 1e-6:
            np.testing.assert_allclose(line[ids], expected, atol=2e-5)


def test_skew_does_not_depend_on_the_order_of_token_ids() -> None:
    logits = torch.randn(1, 200, generator=torch.Generator().manual_seed(2))
    order = torch.randperm(200, generator=torch.Generator().manual_seed(3))
    row = make_row(vocab=200, skew=0.7)
    torch.testing.assert_close(
        apply("skew", logits[:, order].contiguous(), [row]), apply("skew", logits, [row])[:, order]
    )


@pytest.mark.parametrize("name", ["quadratic", "skew", "dynamic_temperature"])
def test_one_possible_token_stays_the_only_one(name: str) -> None:
    logits = torch.full((2, 300), -torch.inf)
    logits[0, 7], logits[1, 299] = -50.0, 80.0
    row = make_row(vocab=300, skew=1.5, smoothing_factor=0.3, dynatemp_max=2.0)
    after = apply(name, logits, [row] * 2)
    assert (after > -torch.inf).nonzero().tolist() == [[0, 7], [1, 299]]
    assert not after.isnan().any()
