"""Draws that stay on the device are the pipeline's, and read nothing back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aphrodite_engine.params import SamplingParams
from aphrodite_engine.sampling.on_device import can_stay_on_device, draw_on_device
from aphrodite_engine.sampling.pipeline import sample
from aphrodite_engine.sampling.row import SamplerRow
from aphrodite_kernels.sample import NOTHING
from tests.engine.sampling.rows import logit_rows, make_row
from tests.engine.strategies import sampling_params

VOCAB = 300


@st.composite
def rows_that_stay(draw: st.DrawFn, count: int) -> list[SamplerRow]:
    """Of any request as it would be without what the host must know."""
    off: dict[str, Any] = {
        "logprobs": None, "trace": None, "logit_bias": None, "allowed_token_ids": None, "repetition_penalty": 1.0,
        "frequency_penalty": 0.0, "presence_penalty": 0.0, "dry_multiplier": 0.0, "no_repeat_ngram_size": 0,
        "mirostat_mode": 0, "adaptive_target": None,
    }  # fmt: skip
    params = sampling_params(VOCAB, min_tokens=0).map(lambda params: params.with_fields(**off))
    output = st.lists(st.integers(0, VOCAB - 1), max_size=8)
    return [make_row(draw(params), vocab=VOCAB, output=draw(output), index=place) for place in range(count)]


@given(logit_rows(rows=5, vocab=VOCAB), rows_that_stay(5))
@settings(max_examples=60)
def test_they_are_what_the_pipeline_draws(logits: torch.Tensor, rows: list[SamplerRow]) -> None:
    assert can_stay_on_device(rows)
    assert draw_on_device(logits, rows).tolist() == [drawn.token_id for drawn in sample(logits, rows)]


def test_a_row_without_a_possible_token_says_so() -> None:
    logits = torch.full((2, 4), -torch.inf)
    assert draw_on_device(logits, [make_row(vocab=4), make_row(vocab=4, temperature=0.0)]).tolist() == [NOTHING] * 2


@pytest.mark.parametrize(
    "fields",
    [
        {"logprobs": 0}, {"trace": 3}, {"logit_bias": {3: 1.0}}, {"allowed_token_ids": [3]}, {"min_tokens": 4},
        {"repetition_penalty": 1.1}, {"frequency_penalty": 0.1}, {"presence_penalty": 0.1}, {"dry_multiplier": 1.0},
        {"no_repeat_ngram_size": 2}, {"mirostat_mode": 2}, {"adaptive_target": 0.3}, {"banned_phrases": ["ab"]},
    ],
    ids=lambda fields: next(iter(fields)),
)  # fmt: skip
def test_rows_that_need_the_host_do_not_stay(fields: dict[str, Any]) -> None:
    assert can_stay_on_device([make_row()])
    assert not can_stay_on_device([make_row(), make_row(SamplingParams(**fields))])


def test_rows_of_other_kinds_do_not_stay_either() -> None:
    row = make_row()
    for other in ({"forced": 3}, {"bad_words": ((7,),)}, {"taken_back": (1,)}):
        assert not can_stay_on_device([replace(row, **other)])


@pytest.mark.slow  # torch imports its meta kernels for it
def test_nothing_is_read_back() -> None:
    """On the meta device there is nothing to read: an item(), a branch on data or a nonzero() raises."""
    rows = [
        make_row(temperature=0.0), make_row(temperature=0.7, top_k=3), make_row(min_p=0.1, seed=4), make_row(),
        make_row(typical_p=0.9), make_row(xtc_probability=0.5, tfs=0.9, top_n_sigma=1.0), make_row(dynatemp_max=1.5),
        make_row(eta_cutoff=3.0, epsilon_cutoff=3.0, top_a=0.1, smoothing_factor=0.2, skew=0.5),
    ]  # fmt: skip
    drawn = draw_on_device(torch.empty(len(rows), 16, device="meta"), rows)
    assert (drawn.shape, drawn.dtype, drawn.device.type) == ((len(rows),), torch.int64, "meta")
