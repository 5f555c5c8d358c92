"""Every step at the ends of its range, on logits at the ends of theirs: a token is always left, and nothing is NaN."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aphrodite_engine.params import DEFAULT_SAMPLER_ORDER, MIN_DIVISOR, SamplingParams
from aphrodite_engine.sampling.feedback import FEEDBACK
from aphrodite_engine.sampling.pipeline import plan_of, sample
from aphrodite_engine.sampling.row import SamplerRow
from aphrodite_engine.sampling.steps import run_steps, steps_of
from tests.engine.sampling.rows import make_row

pytestmark = pytest.mark.slow

TINY = 1e-9
#: Each step just beside its off value, and as strong as it goes.
ENDS: dict[str, list[dict[str, Any]]] = {
    "dry": [
        {"dry_multiplier": TINY},
        {"dry_multiplier": 100.0, "dry_base": 100.0, "dry_allowed_length": 1},
        {"dry_multiplier": 100.0, "dry_base": 1.0, "dry_range": 1},
    ],
    "penalties": [
        {"repetition_penalty": MIN_DIVISOR, "frequency_penalty": -2.0, "presence_penalty": -2.0},
        {"repetition_penalty": 100.0, "frequency_penalty": 2.0, "presence_penalty": 2.0},
        {"presence_penalty": TINY},
    ],
    "no_repeat_ngram": [{"no_repeat_ngram_size": 1}, {"no_repeat_ngram_size": 2**31 - 1}],
    "temperature": [{"temperature": MIN_DIVISOR}, {"temperature": 100.0}],
    "dynamic temperature": [
        {"dynatemp_max": TINY},
        {"dynatemp_max": 100.0, "dynatemp_exponent": 0.0},
        {"dynatemp_min": 100.0, "dynatemp_max": 100.0, "dynatemp_exponent": 100.0},
    ],
    "top_n_sigma": [{"top_n_sigma": TINY}, {"top_n_sigma": 100.0}],
    "top_k": [{"top_k": 1}, {"top_k": 2**31 - 1}],
    "top_p": [{"top_p": TINY}, {"top_p": 1 - 1e-12}],
    "top_a": [{"top_a": TINY}, {"top_a": 1e6}],
    "min_p": [{"min_p": TINY}, {"min_p": 1.0}],
    "tfs": [{"tfs": TINY}, {"tfs": 1 - 1e-12}],
    "eta_cutoff": [{"eta_cutoff": TINY}, {"eta_cutoff": 1e4}],
    "epsilon_cutoff": [{"epsilon_cutoff": TINY}, {"epsilon_cutoff": 1e4}],
    "typical_p": [{"typical_p": TINY}, {"typical_p": 1 - 1e-12}],
    "quadratic": [{"smoothing_factor": TINY}, {"smoothing_factor": 100.0, "smoothing_curve": 10.0}],
    "xtc": [
        {"xtc_probability": 1.0, "xtc_threshold": 0.0},
        {"xtc_probability": 1.0, "xtc_threshold": 1.0},
        {"xtc_probability": TINY},
    ],
    "skew": [{"skew": -20.0}, {"skew": 20.0}, {"skew": TINY}],
    "adaptive_p": [{"adaptive_target": 0.0}, {"adaptive_target": 1.0, "adaptive_decay": 0.0}],
    "mirostat": [
        {"mirostat_mode": 2, "mirostat_tau": TINY, "mirostat_eta": 10.0},
        {"mirostat_mode": 2, "mirostat_tau": 100.0, "mirostat_eta": 0.0},
    ],
}
CASES = [(name, fields) for name, many in ENDS.items() for fields in many]
MASKED = -torch.inf


def rows_of(vocab: int) -> dict[str, torch.Tensor]:
    """One row each, all of `vocab` tokens."""
    place = torch.arange(vocab, dtype=torch.float32)
    kinds = {
        "all equal": torch.zeros(vocab),
        "all equal, far below": torch.full((vocab,), -1e4),
        "one stands out": torch.where(place == vocab // 2, 1e4, 0.0),
        "one falls out": torch.where(place == vocab // 2, -1e4, 0.0),
        "hardly different": place * 1e-30,
        "further and further": place * -100,
        "both ends": torch.where(place % 2 == 0, 1e4, -1e4),
        "one is possible": torch.where(place == vocab - 1, -7.0, MASKED),
        "ties among the impossible": torch.where(place % 3 == 0, 2.0, MASKED),
    }
    return {name: line[None].contiguous() for name, line in kinds.items()}


def row_for(fields: dict[str, Any], vocab: int, **more: Any) -> SamplerRow:
    """It has said the ids 0 and 1 in turn, so that history speaks against both."""
    said = [token % min(vocab, 2) for token in range(12)]
    unbroken = {} if "mirostat_mode" in fields else {"dry_sequence_breakers": []}
    params = SamplingParams.from_fields(unbroken | {"seed": 3} | fields | more)
    return make_row(params, vocab=vocab, prompt=said[:4], output=said[4:])


def behind_all(logits: torch.Tensor, row: SamplerRow) -> torch.Tensor:
    """The logits that are drawn from."""
    for _, _, after in run_steps(steps_of(row.params), logits, [row]):
        logits = after
    learner = plan_of(row.params).feedback
    return FEEDBACK[learner].apply(torch.softmax(logits, dim=1), [row]) if learner else logits


def assert_possible(before: torch.Tensor, after: torch.Tensor, context: str) -> None:
    assert not after.isnan().any(), f"NaN: {context}"
    assert not (after == torch.inf).any(), f"infinite: {context}"
    assert (after > MASKED).any(dim=1).all(), f"nothing is left: {context}"
    assert not ((after > MASKED) & (before == MASKED)).any(), f"an impossible token became possible: {context}"


@pytest.mark.parametrize(("name", "fields"), CASES, ids=lambda case: case if isinstance(case, str) else "")
@pytest.mark.parametrize("vocab", [1, 2, 3, 40])
def test_a_step_at_its_ends_leaves_a_token(name: str, fields: dict[str, Any], vocab: int) -> None:
    for kind, logits in rows_of(vocab).items():
        row = row_for(fields, vocab)
        assert_possible(logits, behind_all(logits, row), f"{fields}, {kind}")
        (drawn,) = sample(logits.clone(), [row])
        assert logits[0, drawn.token_id] > MASKED, f"{fields}, {kind}"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "fields"), CASES, ids=lambda case: case if isinstance(case, str) else "")
def test_a_step_at_its_ends_leaves_a_token_of_150_000(name: str, fields: dict[str, Any]) -> None:
    rows = rows_of(150_000)
    for kind in ("all equal", "further and further", "one is possible", "one falls out"):
        assert_possible(rows[kind], behind_all(rows[kind], row_for(fields, 150_000)), f"{fields}, {kind}")


@pytest.mark.parametrize(("name", "fields"), [case for case in CASES if case[0] != "mirostat"])
def test_a_step_at_its_ends_may_come_twice(name: str, fields: dict[str, Any]) -> None:
    for kind, logits in rows_of(40).items():
        row = row_for(fields, 40, sampler_order=[*DEFAULT_SAMPLER_ORDER] * 2)
        assert_possible(logits, behind_all(logits, row), f"{fields}, {kind}")


ALONE = ("mirostat", "dynamic temperature")
ends = st.sampled_from([fields for name, fields in CASES if name not in ALONE])


@given(
    st.lists(ends, min_size=2, max_size=6), st.permutations([*DEFAULT_SAMPLER_ORDER] * 2), st.sampled_from([1, 3, 40])
)
@settings(max_examples=60)
def test_the_ends_of_many_steps_in_any_order_leave_a_token(
    many: list[dict[str, Any]], order: list[str], vocab: int
) -> None:
    row = row_for({name: value for fields in many for name, value in fields.items()}, vocab, sampler_order=order)
    for kind, logits in rows_of(vocab).items():
        assert_possible(logits, behind_all(logits, row), f"{many}, {order}, {kind}")


@given(st.lists(st.sampled_from([fields for _, fields in CASES]), min_size=3, max_size=6), st.data())
@settings(max_examples=30)
def test_rows_at_their_ends_get_in_company_what_they_get_alone(many: list[dict[str, Any]], data: st.DataObject) -> None:
    kinds = rows_of(40)
    logits = torch.cat([kinds[data.draw(st.sampled_from(sorted(kinds)))] for _ in many])
    rows = [row_for(fields, 40, logprobs=5, logprobs_mode="processed") for fields in many]
    alone = [sample(logits[place : place + 1].clone(), [row])[0] for place, row in enumerate(rows)]
    assert sample(logits.clone(), rows) == alone


# ---- ties


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ({"top_k": 3}, range(8)),  # what ties with the last stays
        ({"top_p": 0.5}, range(4)),  # half of the mass, the lower ids
        ({"typical_p": 0.5}, range(4)),
        ({"min_p": 1.0}, range(8)),
        ({"top_a": 1e6}, range(8)),
        ({"top_n_sigma": TINY}, range(8)),
        ({"tfs": TINY}, range(8)),
        ({"eta_cutoff": 1e4}, range(8)),
        ({"epsilon_cutoff": 1e4}, range(8)),
        ({"xtc_probability": 1.0, "xtc_threshold": 0.0}, [7]),  # all but the last of the least likely
        ({"temperature": 0.0}, [0]),
    ],
)
def test_of_equal_tokens_a_step_keeps_what_its_rule_says(fields: dict[str, Any], kept: Any) -> None:
    params = SamplingParams.from_fields(fields | {"logprobs": 8, "logprobs_mode": "processed", "seed": 1})
    (drawn,) = sample(torch.zeros(1, 8), [make_row(params, vocab=8)])
    assert drawn.logprobs is not None
    assert [token for token, _ in drawn.logprobs.top] == list(kept)


# ---- off


#: Fields that shape a step without switching it on.
SHAPES: list[dict[str, Any]] = [
    {"dry_base": 3.0, "dry_allowed_length": 1, "dry_range": 5, "dry_sequence_breakers": []},
    {"dynatemp_exponent": 3.0},
    {"smoothing_curve": 5.0},
    {"xtc_threshold": 0.0},
    {"mirostat_tau": 1.0, "mirostat_eta": 1.0},
    {"adaptive_decay": 0.5},
    {"top_k": -1},
    {"top_k": 0},
]


@pytest.mark.parametrize("fields", SHAPES)
def test_what_only_shapes_a_step_switches_nothing_on(fields: dict[str, Any]) -> None:
    assert plan_of(SamplingParams.from_fields(fields)) == plan_of(SamplingParams())


@pytest.mark.parametrize("name", [name for name in ENDS if name not in ("adaptive_p", "mirostat")])
def test_a_step_that_the_order_leaves_out_is_off(name: str) -> None:
    own = {"dynamic temperature": "temperature"}.get(name, name)
    order = [step for step in DEFAULT_SAMPLER_ORDER if step != own]
    for fields in ENDS[name]:
        assert plan_of(SamplingParams.from_fields(fields | {"sampler_order": order})).steps == ()
