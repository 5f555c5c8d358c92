"""Hard constraints and biases: before the list of steps, and on their own rows only."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from aphrodite_engine.sampling.constraints import constrain, is_constrained
from aphrodite_engine.sampling.pipeline import sample
from aphrodite_engine.sampling.row import SamplerRow
from tests.engine.sampling.rows import logit_rows, make_row


def constrained(logits: torch.Tensor, rows: list[SamplerRow]) -> torch.Tensor:
    result = logits.clone()
    constrain(result, rows)
    return result


@given(logit_rows(rows=2, vocab=17), st.dictionaries(st.integers(0, 16), st.floats(-100, 100), min_size=1, max_size=17))
def test_logit_bias_is_added_to_its_tokens_and_nothing_else(logits: torch.Tensor, bias: dict[int, float]) -> None:
    after = constrained(logits, [make_row(logit_bias=bias), make_row()])
    expected = logits.clone()
    for token, value in bias.items():
        expected[0, token] = logits[0, token] + torch.tensor(value, dtype=torch.float32)
    assert torch.equal(after, expected)


@given(logit_rows(rows=1, vocab=17), st.lists(st.integers(0, 16), min_size=1))
def test_only_allowed_tokens_stay_possible_with_their_bits(logits: torch.Tensor, allowed: list[int]) -> None:
    after = constrained(logits, [make_row(allowed_token_ids=allowed)])[0]
    for token in range(17):
        assert after[token] == (logits[0, token] if token in allowed else -torch.inf)


def test_before_min_tokens_what_ends_is_impossible_and_after_it_is_free() -> None:
    rows = [make_row(min_tokens=2, output=[9] * count, ends=(3, 5)) for count in range(4)]
    after = constrained(torch.zeros(4, 16), rows)
    assert [(line == -torch.inf).nonzero().flatten().tolist() for line in after] == [[3, 5], [3, 5], [], []]
    assert [is_constrained(row) for row in rows] == [True, True, False, False]


def test_a_bias_cannot_make_possible_what_is_not_allowed() -> None:
    row = make_row(logit_bias={1: 100.0}, allowed_token_ids=[2, 3], min_tokens=1, ends=(3,))
    after = constrained(torch.zeros(1, 16), [row])[0]
    assert (after > -torch.inf).nonzero().flatten().tolist() == [2]


def test_constraints_hold_whatever_the_list_of_steps() -> None:
    rows = [make_row(allowed_token_ids=[4, 6], sampler_order=["skew"], seed=seed) for seed in range(50)]
    assert {drawn.token_id for drawn in sample(torch.randn(50, 16), rows)} == {4, 6}


def test_raw_logprobs_are_those_before_the_constraints() -> None:
    logits = torch.zeros(1, 4)
    (drawn,) = sample(logits.clone(), [make_row(vocab=4, allowed_token_ids=[2], logit_bias={2: 7.0}, logprobs=4)])
    assert drawn.logprobs is not None
    assert drawn.logprobs.logprob == torch.log_softmax(logits, 1)[0, 2].item()
    assert len(drawn.logprobs.top) == 4
