"""Logprobs: of which distribution, in which order, and never of what is impossible."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aphrodite_engine.sampling.logprobs import top_logprobs
from aphrodite_engine.sampling.pipeline import sample
from tests.engine.sampling.rows import logit_rows, make_row, softmax64


@given(logit_rows(), st.data())
def test_logprobs_ranks_and_best_follow_the_float64_reference(logits: torch.Tensor, data: st.DataObject) -> None:
    chosen = [data.draw(st.sampled_from((line > -torch.inf).nonzero().flatten().tolist())) for line in logits]
    counts = [data.draw(st.integers(0, min(20, logits.shape[1]))) for _ in logits]
    with np.errstate(divide="ignore"):
        expected = np.log(softmax64(logits))
    for row, found in enumerate(top_logprobs(logits, chosen, counts)):
        line = logits[row].numpy()
        assert found.logprob == pytest.approx(expected[row, chosen[row]], abs=1e-4, rel=1e-6)
        assert found.rank == 1 + (torch.log_softmax(logits[row], 0) > found.logprob).sum()
        order = sorted(range(len(line)), key=lambda token: (-torch.log_softmax(logits[row], 0)[token].item(), token))
        best = [token for token in order[: counts[row]] if line[token] > -np.inf]
        assert [token for token, _ in found.top] == best


@given(logit_rows())
def test_entropy_follows_the_float64_reference(logits: torch.Tensor) -> None:
    shares = softmax64(logits)
    terms = np.zeros_like(shares)
    np.log(shares, out=terms, where=shares > 0)
    for row, found in enumerate(top_logprobs(logits, [0] * len(logits), [0] * len(logits))):
        assert found.entropy == pytest.approx(-(shares[row] * terms[row]).sum(), rel=1e-5, abs=1e-6)


def test_entropy_of_one_possible_token_is_zero_and_of_equal_ones_the_log_of_their_number() -> None:
    certain, even, half = torch.full((300,), -torch.inf), torch.zeros(300), torch.zeros(300)
    certain[7], half[150:] = 3.0, -torch.inf
    found = [each.entropy for each in top_logprobs(torch.stack((certain, even, half)), [7, 0, 0], [0, 0, 0])]
    assert found[0] == 0
    assert found[1:] == pytest.approx([np.log(300), np.log(150)], rel=1e-6)


@pytest.mark.parametrize("vocab", [257, 4096, 50_257, 151_936])
def test_entropy_has_the_same_bits_alone_and_among_others(vocab: int) -> None:
    """Wide rows too, which torch's own sum would split among threads when they are alone."""
    logits = 4 * torch.randn(5, vocab, generator=torch.Generator().manual_seed(vocab))
    logits[:, ::3] = -torch.inf
    together = [found.entropy for found in top_logprobs(logits, [1] * 5, [0, 3, 0, 20, 1])]
    alone = [top_logprobs(logits[row : row + 1], [1], [2])[0].entropy for row in range(5)]
    assert together == alone


def test_impossible_tokens_are_left_out_of_the_best() -> None:
    logits = torch.tensor([[1.0, -torch.inf, 0.0, -torch.inf]])
    (found,) = top_logprobs(logits, [0], [4])
    assert [token for token, _ in found.top] == [0, 2]


def test_of_equal_tokens_the_lower_ids_are_reported_whatever_the_neighbours_ask_for() -> None:
    logits = torch.zeros(2, 5000)
    logits[:, 4000] = 1.0
    for neighbour in (0, 1, 3, 20):
        found = top_logprobs(logits, [0, 0], [4, neighbour])[0]
        assert [token for token, _ in found.top] == [4000, 0, 1, 2]


def test_raw_is_the_models_distribution_and_processed_what_was_drawn_from() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]])
    fields = {"vocab": 4, "temperature": 0.5, "top_k": 2, "logprobs": 4}
    rows = [make_row(**fields, logprobs_mode=mode) for mode in ("raw", "processed")]
    raw, processed = (drawn.logprobs for drawn in sample(logits.repeat(2, 1), rows))
    assert raw is not None and processed is not None
    np.testing.assert_allclose([v for _, v in raw.top], torch.log_softmax(logits, 1)[0], atol=1e-6)
    expected = torch.log_softmax(torch.tensor([4.0, 2.0]), 0)
    np.testing.assert_allclose([v for _, v in processed.top], expected, atol=1e-6)


def test_what_a_greedy_row_was_drawn_from_is_one_token() -> None:
    row = make_row(vocab=3, temperature=0, logprobs=3, logprobs_mode="processed")
    (drawn,) = sample(torch.tensor([[0.0, 2.0, 1.0]]), [row])
    assert drawn.logprobs is not None
    assert (drawn.logprobs.logprob, drawn.logprobs.rank, drawn.logprobs.top) == (0.0, 1, ((1, 0.0),))
    assert drawn.logprobs.entropy == 0


def test_logprobs_zero_reports_the_drawn_token_only_and_none_reports_nothing() -> None:
    zero, none = sample(torch.zeros(2, 4), [make_row(vocab=4, logprobs=0), make_row(vocab=4)])
    assert zero.logprobs is not None
    assert zero.logprobs.top == ()
    assert none.logprobs is None


def test_more_logprobs_than_tokens_give_every_token() -> None:
    (drawn,) = sample(torch.zeros(1, 4), [make_row(vocab=4, logprobs=20)])
    assert drawn.logprobs is not None
    assert [token for token, _ in drawn.logprobs.top] == [0, 1, 2, 3]
