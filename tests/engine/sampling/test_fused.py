"""Draws by one op: which requests get them, and that they are what the steps draw one by one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aphrodite_engine.llm import LLM
from aphrodite_engine.params import SamplingParams
from aphrodite_engine.sampling import fused, pipeline
from aphrodite_engine.sampling.fused import ask_of
from aphrodite_engine.sampling.on_device import can_stay_on_device, draw_on_device
from aphrodite_engine.sampling.pipeline import sample
from aphrodite_engine.sampling.row import SamplerRow
from aphrodite_kernels.dispatch import Backend
from aphrodite_kernels.draw import Ask
from tests.engine.sampling.rows import logit_rows, make_row
from tests.engine.sampling.test_pipeline import VOCAB, sampler_row
from tests.engine.strategies import sampling_params

#: A device's kind is the same for all examples.
ONE_FIXTURE = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def as_where_triton_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are fused; the op itself takes its reference."""
    monkeypatch.setattr(fused, "backend", lambda device_type: Backend.TRITON)


@st.composite
def askers(draw: st.DrawFn, count: int) -> list[SamplerRow]:
    """Rows of any kind, and as many of which most are fused."""
    common = {"sampler_order": None, "temperature_last": False, "mirostat_mode": 0}
    usual = st.builds(
        make_row, sampling_params(VOCAB, **common), vocab=st.just(VOCAB), index=st.integers(0, 255),
        output=st.lists(st.integers(0, VOCAB - 1), max_size=8),
    )  # fmt: skip
    rows = [draw(usual if place % 2 else sampler_row(VOCAB)) for place in range(count)]
    return [replace(row, ask=ask_of(row.params)) for row in rows]


@given(logits=logit_rows(rows=6, vocab=VOCAB), rows=askers(6), order=st.permutations(range(6)))
@ONE_FIXTURE
def test_tokens_are_those_of_the_steps_in_any_company(
    as_where_triton_runs: None, logits: torch.Tensor, rows: list[SamplerRow], order: list[int]
) -> None:
    one_by_one = sample(logits.clone(), [replace(row, ask=None) for row in rows])
    assert sample(logits.clone(), rows) == one_by_one
    assert sample(logits[order], [rows[r] for r in order]) == [one_by_one[r] for r in order]


@given(logits=logit_rows(rows=6, vocab=VOCAB), rows=askers(6))
@ONE_FIXTURE
def test_what_stays_on_the_device_is_the_same(
    as_where_triton_runs: None, logits: torch.Tensor, rows: list[SamplerRow]
) -> None:
    staying = [r for r, row in enumerate(rows) if can_stay_on_device([row])]
    part = logits[staying]
    if staying:
        drawn = [token.token_id for token in sample(part, [rows[r] for r in staying])]
        assert draw_on_device(part, [rows[r] for r in staying]).tolist() == drawn


@pytest.mark.parametrize(
    ("fields", "ask"),
    [
        ({}, Ask()),
        ({"temperature": 0.0, "top_k": 3, "presence_penalty": 0.5}, Ask(temperature=0.0, presence_penalty=0.5)),
        ({"temperature": 0.7, "top_k": -1, "top_p": 0.9}, Ask(temperature=0.7, top_p=0.9)),
        ({"sampler_order": ["top_k", "min_p"], "top_k": 5, "min_p": 0.1, "top_p": 0.3}, Ask(top_k=5, min_p=0.1)),
        ({"min_tokens": 4, "logit_bias": {3: 1.0}, "seed": 7}, Ask()),  # come before the steps
        ({"sampler_order": ["min_p", "top_k"], "top_k": 5, "min_p": 0.1}, None),
        ({"sampler_order": ["top_p", "top_p"], "top_p": 0.5}, None),
        ({"temperature_last": True, "temperature": 0.5, "min_p": 0.1}, None),
        ({"logprobs": 0, "trace": 2, "min_p": 0.1}, Ask(min_p=0.1)),
        ({"xtc_probability": 0.5}, None),
        ({"dynatemp_max": 1.5}, None),
        ({"mirostat_mode": 2}, None),
        ({"adaptive_target": 0.3}, None),
    ],
    ids=str,
)
def test_a_request_alone_says_whether_it_is_fused(fields: dict[str, Any], ask: Ask | None) -> None:
    assert ask_of(SamplingParams(**fields)) == ask


def test_what_is_reported_does_not_decide_what_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """An op that drew something else than the steps would is still what a row with a trace hears of."""
    monkeypatch.setattr(fused, "backend", lambda device_type: Backend.TRITON)
    monkeypatch.setattr(pipeline, "draw_fused", lambda logits, rows: torch.full((len(rows),), 3))
    told = SamplingParams(logprobs=2, trace=4, top_p=0.9)
    row = make_row(told, vocab=VOCAB)
    drawn = sample(torch.randn(1, VOCAB), [replace(row, ask=ask_of(told))])[0]
    assert drawn.token_id == 3
    assert drawn.logprobs is not None
    assert drawn.trace is not None


def test_an_engine_that_fuses_answers_as_one_that_does_not(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = [
        SamplingParams(temperature=temperature, seed=seed, max_tokens=9, ignore_eos=True, **more)
        for seed, (temperature, more) in enumerate([
            (1.0, {}), (0.0, {}), (0.7, {"top_k": 9, "top_p": 0.9}), (1.3, {"frequency_penalty": 0.4, "min_p": 0.05}),
            (0.9, {"logprobs": 2, "top_p": 0.8}), (0.8, {"xtc_probability": 0.5, "xtc_threshold": 0.05}),
        ])
    ]  # fmt: skip

    def answers() -> list[list[int]]:
        with LLM(tiny_folder, max_model_len=64) as llm:
            return [list(result.outputs[0].token_ids) for result in llm.generate([[5, 6, 7]] * len(many), many)]

    expected = answers()
    monkeypatch.setattr(fused, "backend", lambda device_type: Backend.TRITON)
    assert answers() == expected
