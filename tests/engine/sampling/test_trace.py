"""What a trace says is what happened."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aphrodite_engine.params import SamplingParams
from aphrodite_engine.sampling.pipeline import sample
from aphrodite_engine.sampling.row import SamplerRow
from tests.engine.sampling.rows import logit_rows, make_row
from tests.engine.sampling.test_defects import ACTIVE, REPEATED, active_row, logits
from tests.engine.sampling.test_pipeline import VOCAB, sampler_rows


@given(logit_rows(rows=4, vocab=VOCAB), sampler_rows(4), st.integers(0, 3))
@settings(max_examples=60)
def test_the_last_stage_is_what_the_token_was_drawn_from_bit_for_bit(
    values: torch.Tensor, rows: list[SamplerRow], place: int
) -> None:
    changed = {"trace": 20, "logprobs": 20, "logprobs_mode": "processed"}
    rows[place] = _with_fields(rows[place], **changed)
    drawn = sample(values.clone(), rows)[place]
    if drawn.token_id < 0:
        return
    assert drawn.trace is not None and drawn.logprobs is not None
    last = drawn.trace[-1]
    processed = dict(drawn.logprobs.top)
    assert last.drawn == pytest.approx(math.exp(drawn.logprobs.logprob), rel=1e-5)
    assert {i for i, _ in last.top} <= set(processed) or len(processed) == 20
    for token_id, probability in last.top:
        if token_id in processed:
            assert probability == pytest.approx(math.exp(processed[token_id]), rel=1e-5)


@given(logit_rows(rows=3, vocab=VOCAB), sampler_rows(3))
@settings(max_examples=40)
def test_a_trace_changes_nothing(values: torch.Tensor, rows: list[SamplerRow]) -> None:
    traced = sample(values.clone(), [_with_fields(row, trace=3) for row in rows])
    plain = sample(values.clone(), rows)
    assert [(d.token_id, d.logprobs, d.feedback) for d in traced] == [
        (d.token_id, d.logprobs, d.feedback) for d in plain
    ]
    assert all(drawn.trace is None for drawn in plain)


@pytest.mark.parametrize("name", ACTIVE)
def test_every_active_step_is_a_stage(name: str) -> None:
    (drawn,) = sample(logits(1), [active_row(name, trace=5)])
    assert drawn.trace is not None
    expected = {"dynamic temperature": "dynamic_temperature", "greedy": "temperature"}.get(name, name)
    assert [stage.name for stage in drawn.trace] == ["model", expected]
    assert drawn.trace[0].num_possible == VOCAB and drawn.trace[0].coin is None
    assert (drawn.trace[1].coin is not None) == (name == "xtc")


def test_a_trace_tells_which_stage_removed_what() -> None:
    values = torch.tensor([[4.0, 3.0, 2.0, 1.0, 0.0]])
    row = make_row(vocab=5, top_k=4, top_p=0.9, allowed_token_ids=[1, 2, 3, 4], temperature=0.5, trace=5)
    (drawn,) = sample(values, [row])
    assert drawn.trace is not None
    told = [(stage.name, stage.num_possible) for stage in drawn.trace]
    assert told == [("model", 5), ("constraints", 4), ("temperature", 4), ("top_k", 4), ("top_p", 2)]
    assert drawn.trace[0].top[0][0] == 0 and drawn.trace[1].top[0][0] == 1
    assert sum(p for _, p in drawn.trace[-1].top) == pytest.approx(1)


def test_the_coin_of_a_trace_decided() -> None:
    values = torch.zeros(100, 4)
    rows = [make_row(vocab=4, seed=i, xtc_probability=0.5, trace=4) for i in range(100)]
    for drawn in sample(values, rows):
        assert drawn.trace is not None
        stage = drawn.trace[-1]
        assert stage.coin is not None and (stage.num_possible == 1) == (stage.coin < 0.5)


def _with_fields(row: SamplerRow, **changed: object) -> SamplerRow:
    from dataclasses import replace

    return replace(
        row, params=row.params.with_fields(**changed) if isinstance(row.params, SamplingParams) else row.params
    )


def test_traces_of_repeated_rows_are_equal() -> None:
    row = make_row(SamplingParams(trace=3, dry_multiplier=1.0, dry_sequence_breakers=[]), vocab=VOCAB, **REPEATED)
    first, second = sample(logits(1).repeat(2, 1), [row, row])
    assert first.trace == second.trace
