"""Samplers that learn: mirostat and adaptive_p, step by step against their recurrences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from aphrodite_engine.sampling.feedback import FEEDBACK
from aphrodite_engine.sampling.pipeline import plan_of, sample
from tests.engine.sampling.rows import make_row, softmax64


def logits_of(step: int, vocab: int = 200) -> torch.Tensor:
    return 2 * torch.randn(1, vocab, generator=torch.Generator().manual_seed(step))


def test_mirostat_follows_its_recurrence_over_many_tokens() -> None:
    tau, eta = 3.0, 0.3
    mu, memory = 2 * tau, None
    for step in range(60):
        logits = logits_of(step)
        row = make_row(vocab=200, mirostat_mode=2, mirostat_tau=tau, mirostat_eta=eta, seed=4, position=step,
                       feedback=memory, logprobs=20, logprobs_mode="processed")  # fmt: skip
        (drawn,) = sample(logits.clone(), [row])
        p = softmax64(logits)[0]
        surprise = -math.log2(p[drawn.token_id])
        assert surprise <= mu + 1e-4 or drawn.token_id == int(p.argmax())
        mu -= eta * (surprise - tau)
        assert drawn.feedback == pytest.approx((mu,), abs=1e-4)
        memory = drawn.feedback


def test_mirostat_comes_near_the_surprise_it_aims_at() -> None:
    found = []
    for tau in (3.0, 4.5):
        memory, surprises = None, []
        for step in range(300):
            logits = logits_of(step)
            row = make_row(vocab=200, mirostat_mode=2, mirostat_tau=tau, seed=1, position=step, feedback=memory)
            (drawn,) = sample(logits.clone(), [row])
            surprises.append(-math.log2(softmax64(logits)[0][drawn.token_id]))
            memory = drawn.feedback
        found.append(np.mean(surprises[50:]))
    assert found[0] == pytest.approx(3.0, abs=0.4) and found[1] == pytest.approx(4.5, abs=0.4)


def test_mirostat_keeps_the_most_likely_token_when_all_surprise_it() -> None:
    p = torch.full((1, 64), 1 / 64)
    logits = FEEDBACK["mirostat"].apply(p, [make_row(mirostat_mode=2, feedback=(0.5,))])
    assert (logits > -torch.inf).all(), "all tie for the first place"


def test_adaptive_p_is_a_hill_around_its_aim() -> None:
    target, decay = 0.3, 0.8
    memory: tuple[float, ...] | None = None
    drawn_p: list[float] = []
    for step in range(40):
        logits = logits_of(step)
        row = make_row(vocab=200, adaptive_target=target, adaptive_decay=decay, seed=3, position=step, feedback=memory)
        p = softmax64(logits)[0]
        weights = [decay**age for age in range(len(drawn_p))]
        mean = np.dot(weights, drawn_p[::-1]) / sum(weights) if drawn_p else target
        aim = min(1.0, max(0.0, 2 * target - mean))
        x = np.abs(p - aim) / 0.3
        expected = np.where(p >= 1e-8, 5 - 10 * x**2 / (1 + x), -np.inf)
        hill = FEEDBACK["adaptive_p"].apply(torch.softmax(logits, 1), [row])[0]
        np.testing.assert_allclose(hill, expected, atol=1e-4)
        (drawn,) = sample(logits.clone(), [row])
        drawn_p.append(p[drawn.token_id])
        memory = drawn.feedback


def test_adaptive_p_works_on_what_the_steps_before_it_left() -> None:
    logits = torch.tensor([[3.0, 2.9, 0.0, -1.0]])
    rows = [make_row(vocab=4, adaptive_target=0.0, min_p=0.5, seed=i) for i in range(200)]
    assert {drawn.token_id for drawn in sample(logits.repeat(200, 1), rows)} == {0, 1}


def test_without_feedback_nothing_is_remembered() -> None:
    (drawn,) = sample(torch.zeros(1, 4), [make_row(vocab=4)])
    assert drawn.feedback is None
    assert plan_of(make_row(mirostat_mode=2).params).steps == ()
