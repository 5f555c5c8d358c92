"""SamplingParams: every value out of its range is refused by name, and the defaults change nothing."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aphrodite_engine.errors import AphroditeError, ParameterError
from aphrodite_engine.params import (
    DEFAULT_SAMPLER_ORDER,
    MAX_SEED,
    MAX_STOP_STRINGS,
    RANGES,
    STEP_FIELDS,
    SamplingParams,
)
from aphrodite_engine.sampling.pipeline import plan_of

NUMBERS = {
    "temperature": (-0.1, -1, 100.1, 1e9),
    "top_p": (0, 0.0, -0.5, 1.0001, 2),
    "min_p": (-0.01, 1.01),
    "repetition_penalty": (0, 0.0, -1.0, 100.5),
    "frequency_penalty": (-2.1, 2.1),
    "presence_penalty": (-2.1, 2.1),
}
INTEGERS = {
    "n": (0, -1, 257, 10**9, 2**63),
    "top_k": (-2, 2**31, 2**63),
    "min_tokens": (-1, 2**31),
    "max_tokens": (0, -1, 2**31, 2**63),
    "seed": (-1, 2**63),
    "logprobs": (-1, 21),
    "prompt_logprobs": (-1, 21),
}
BOOLEANS = ("ignore_eos", "include_stop_str_in_output", "skip_special_tokens", "temperature_last")
NOT_NUMBERS = (math.nan, math.inf, -math.inf, True, False, "1", b"1", [1], {}, 1j, object(), 10**400, -(10**400))
NOT_INTEGERS = (math.nan, math.inf, True, False, 1.0, 1.5, "1", [1], {}, object(), 10**400, -(10**400))
OPTIONAL = ("max_tokens", "seed", "logprobs", "prompt_logprobs")

_NUMBER_CASES = [(name, v) for name, values in NUMBERS.items() for v in (*values, *NOT_NUMBERS, None)]
_INTEGER_CASES = [
    (name, v)
    for name, values in INTEGERS.items()
    for v in (*values, *NOT_INTEGERS, *(() if name in OPTIONAL else (None,)))
]
_BOOLEAN_CASES = [(name, value) for name in BOOLEANS for value in (None, 0, 1, "true", "False", [], 1.0)]


def refusal(**fields: Any) -> ParameterError:
    with pytest.raises(ParameterError) as caught:
        SamplingParams(**fields)
    return caught.value


@pytest.mark.parametrize(
    ("name", "value"), [*_NUMBER_CASES, *_INTEGER_CASES, *_BOOLEAN_CASES], ids=lambda value: repr(value)[:20]
)
def test_a_value_out_of_its_range_or_type_is_refused_naming_field_value_and_range(name: str, value: object) -> None:
    error = refusal(**{name: value})
    assert error.field == name
    assert error.value is value
    assert str(error).startswith(f"{name}={repr(value)[:77]}"[:60])
    assert error.allowed in str(error)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("n", 1, 256), ("temperature", 0, 100), ("top_k", -1, 2**31 - 1), ("top_p", 1e-9, 1), ("min_p", 0, 1),
        ("repetition_penalty", 0.01, 100), ("frequency_penalty", -2, 2), ("presence_penalty", -2, 2),
        ("min_tokens", 0, 256), ("max_tokens", 1, 2**31 - 1), ("seed", 0, MAX_SEED), ("logprobs", 0, 20),
        ("prompt_logprobs", 0, 20),
    ],
)  # fmt: skip
def test_both_ends_of_a_range_are_allowed(name: str, low: float, high: float) -> None:
    for value in (low, high):
        assert getattr(SamplingParams.from_fields({name: value}), name) == value


@pytest.mark.parametrize("value", [5e-324, 1e-40, 1e-7])
@pytest.mark.parametrize("name", ["temperature", "repetition_penalty"])
def test_a_divisor_too_small_for_float32_logits_is_refused_instead_of_giving_infinities(
    name: str, value: float
) -> None:
    assert refusal(**{name: value}).field == name


def test_temperature_zero_is_greedy() -> None:
    assert plan_of(SamplingParams(temperature=0)).greedy
    assert plan_of(SamplingParams(temperature=0.0)).greedy
    assert not plan_of(SamplingParams(temperature=0.5)).greedy


@pytest.mark.parametrize("value", [[-1], [True], [1.0], ["a"], [None], "12", b"12", 5, {1, 2}, {1: 2}, object()])
@pytest.mark.parametrize("name", ["stop_token_ids", "allowed_token_ids"])
def test_lists_of_ids_refuse_what_is_not_a_list_of_ids(name: str, value: object) -> None:
    assert refusal(**{name: value}).field == name


def test_an_empty_list_of_allowed_ids_is_refused_since_nothing_could_be_drawn() -> None:
    assert "at least one" in str(refusal(allowed_token_ids=[]))


@pytest.mark.parametrize(
    "value", [{-1: 1.0}, {True: 1.0}, {"5": 1.0}, {1.5: 1.0}, [(1, 2.0)], "x", 7, [], "", 0, False, [1]]
)
def test_a_logit_bias_that_is_not_a_mapping_from_ids_is_refused(value: object) -> None:
    assert refusal(logit_bias=value).field == "logit_bias"


@pytest.mark.parametrize(
    "bias", [math.nan, math.inf, 100.1, -100.1, True, "1", None, 10**400], ids=lambda value: repr(value)[:20]
)
def test_a_logit_bias_out_of_range_is_refused_naming_its_id(bias: object) -> None:
    assert refusal(logit_bias={3: 0.0, 17: bias}).field == "logit_bias[17]"


@pytest.mark.parametrize("value", [[""], "", ["a", ""], [1], 5, [None], {"a": 1}, b"a", [b"a"], {"a"}])
def test_stop_strings_that_are_empty_or_no_strings_are_refused(value: object) -> None:
    assert refusal(stop=value).field == "stop"


def test_too_many_stop_strings_are_refused() -> None:
    assert str(MAX_STOP_STRINGS) in str(refusal(stop=["a"] * 10_000))
    assert len(SamplingParams(stop=["a"] * MAX_STOP_STRINGS).stop_strings) == MAX_STOP_STRINGS


def test_one_stop_string_and_a_list_of_one_mean_the_same() -> None:
    assert SamplingParams(stop="END").stop_strings == SamplingParams(stop=["END"]).stop_strings == ("END",)


@pytest.mark.parametrize("value", ["processed ", "RAW", None, 1, True, ["raw"]])
def test_an_unknown_logprobs_mode_is_refused(value: object) -> None:
    assert refusal(logprobs_mode=value).field == "logprobs_mode"


def test_min_tokens_above_max_tokens_is_refused() -> None:
    error = refusal(min_tokens=11, max_tokens=10)
    assert (error.field, error.value) == ("min_tokens", 11)
    assert "max_tokens=10" in str(error)


@pytest.mark.parametrize("value", ["temperature", ["temprature"], [1], 5, [None], {"top_k": 1}, [["top_k"]]])
def test_an_unknown_step_in_the_sampler_order_is_refused_with_the_known_ones(value: object) -> None:
    error = refusal(sampler_order=value)
    assert error.field == "sampler_order"
    assert all(name in error.allowed for name in DEFAULT_SAMPLER_ORDER)


def test_the_sampler_order_is_kept_as_given_with_steps_left_out_or_repeated() -> None:
    order = ["min_p", "temperature", "min_p"]
    params = SamplingParams(sampler_order=order, min_p=0.1, temperature=0.5, top_k=5)
    assert plan_of(params).steps == ("min_p", "temperature", "min_p")


@pytest.mark.parametrize("times", [3, 100_000])
def test_a_step_more_than_twice_is_refused_before_it_can_hold_up_anybody(times: int) -> None:
    order = ["typical_p"] * times
    error = refusal(sampler_order=["top_k", "top_k", *order])
    assert (error.field, error.value) == ("sampler_order", "typical_p") and "twice" in error.allowed
    assert SamplingParams(sampler_order=[*DEFAULT_SAMPLER_ORDER] * 2).sampler_order is not None


def test_temperature_last_moves_temperature_behind_the_truncating_steps() -> None:
    params = SamplingParams(temperature_last=True, temperature=0.5, top_k=5, top_p=0.9, min_p=0.1)
    assert plan_of(params).steps == ("top_k", "top_p", "min_p", "temperature")


def test_temperature_last_does_not_switch_on_a_temperature_that_the_order_leaves_out() -> None:
    params = SamplingParams(temperature_last=True, temperature=0.5, sampler_order=["top_k"], top_k=5)
    assert plan_of(params).steps == ("top_k",)


def test_a_copy_with_a_changed_field_keeps_the_rest() -> None:
    params = SamplingParams(temperature_last=True, temperature=0.5, stop=["a"], logit_bias={3: 1.0}, seed=4)
    copy = params.with_fields(seed=5)
    assert copy == dataclasses.replace(params, seed=5)
    assert copy.stop_strings == ("a",)
    with pytest.raises(ParameterError, match="seed"):
        params.with_fields(seed=-1)


def test_the_defaults_run_no_step_and_constrain_nothing() -> None:
    params = SamplingParams()
    assert plan_of(params).steps == ()
    assert not plan_of(params).greedy
    assert (params.logit_bias, params.allowed_token_ids, params.stop_strings, params.stop_token_ids) == (
        None, None, (), (),
    )  # fmt: skip


def test_an_unknown_name_is_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(ParameterError, match="did you mean 'temperature'") as caught:
        SamplingParams.from_fields({"temprature": 1})
    assert (caught.value.field, caught.value.value) == ("temprature", 1)
    with pytest.raises(ParameterError, match="known: n, temperature"):
        SamplingParams.from_fields({"zzz": 1})


def test_derived_fields_are_not_parameters() -> None:
    assert "stop_strings" not in SamplingParams.field_names()
    with pytest.raises(ParameterError, match="stop_strings"):
        SamplingParams.from_fields({"stop_strings": ("a",)})


def test_params_cannot_be_changed_after_the_check() -> None:
    params = SamplingParams(stop_token_ids=[1])
    with pytest.raises(dataclasses.FrozenInstanceError):
        params.temperature = -1  # type: ignore[misc]
    assert params.stop_token_ids == (1,)


def test_a_huge_value_does_not_make_a_huge_message() -> None:
    assert len(str(refusal(stop=["x" * 10_000] * 100))) < 400


@given(st.dictionaries(st.sampled_from(SamplingParams.field_names()), st.from_type(object), max_size=3))
def test_arbitrary_values_give_params_or_a_parameter_error_and_nothing_else(fields: dict[str, Any]) -> None:
    try:
        SamplingParams.from_fields(fields)
    except AphroditeError as error:
        assert isinstance(error, ParameterError) and isinstance(error, ValueError)


# ---- fields that may not stand together


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"dynatemp_max": 1.0, "temperature": 0.7}, "temperature"),
        ({"dynatemp_min": 1.0, "dynatemp_max": 0.5}, "dynatemp_min"),
        ({"dynatemp_min": 1.0}, "dynatemp_min"),
        ({"adaptive_target": 0.3, "temperature": 0}, "adaptive_target"),
        ({"mirostat_mode": 2, "temperature": 0.7}, "temperature"),
        ({"mirostat_mode": 2, "top_p": 0.9}, "top_p"),
        ({"mirostat_mode": 2, "adaptive_target": 0.1}, "adaptive_target"),
        ({"mirostat_mode": 2, "sampler_order": ["top_k"]}, "sampler_order"),
        ({"mirostat_mode": 2, "temperature_last": True}, "temperature_last"),
        ({"mirostat_mode": 1}, "mirostat_mode"),
        ({"mirostat_mode": True}, "mirostat_mode"),
        ({"sampler_order": []}, "sampler_order"),
    ],
)
def test_fields_that_exclude_each_other_are_refused_by_name(fields: dict[str, object], named: str) -> None:
    assert refusal(**fields).field == named


def test_a_misspelt_step_gets_a_suggestion() -> None:
    assert "did you mean 'typical_p'" in refusal(sampler_order=["typicl_p"]).allowed


def test_every_number_has_a_range_and_every_step_its_fields() -> None:
    names = set(SamplingParams.field_names())
    assert set(RANGES) <= names
    assert {name for own in STEP_FIELDS.values() for name in own} <= names
    for name in names:
        value = getattr(SamplingParams(), name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and name != "mirostat_mode":
            assert name in RANGES


def test_temperature_last_is_behind_xtc_and_before_skew() -> None:
    order = SamplingParams(temperature_last=True).sampler_order
    assert order is not None and list(order[-3:]) == ["xtc", "temperature", "skew"]


def test_a_copy_of_a_mirostat_request_is_one() -> None:
    assert SamplingParams(mirostat_mode=2).with_fields(seed=3).mirostat_mode == 2
