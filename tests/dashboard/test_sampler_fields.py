"""The sampling fields of the page: all of them, read and shown without loss."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aphrodite.presets import BUILT_IN
from aphrodite_apps.dashboard.sampler_fields import (
    GROUPS,
    NOT_SHOWN,
    Control,
    fields_of,
    sampler_fields,
    values_of,
)
from aphrodite_engine.errors import ParameterError
from aphrodite_engine.params import RANGES, SamplingParams

PLACES = {field.name: place for place, field in enumerate(sampler_fields())}


def with_value(name: str, value: Any) -> list[Any]:
    """What the controls hold when one of them is changed."""
    values = values_of({})
    values[PLACES[name]] = value
    return values


def test_every_field_is_there_once_with_its_meaning() -> None:
    assert sorted(PLACES) == sorted(set(SamplingParams.field_names()) - NOT_SHOWN)
    assert len(sampler_fields()) == len(PLACES)
    assert all(len(field.meaning) > 10 for field in sampler_fields())


def test_groups_are_not_torn_apart() -> None:
    groups = [field.group for field in sampler_fields()]
    assert list(dict.fromkeys(groups)) == [name for name, _ in GROUPS if name in groups]
    assert groups == sorted(groups, key=[name for name, _ in GROUPS].index)


def test_untouched_controls_say_nothing() -> None:
    assert fields_of(values_of({})) == {}


@pytest.mark.parametrize("preset", BUILT_IN)
def test_a_preset_comes_back_from_the_controls(preset: str) -> None:
    assert fields_of(values_of(BUILT_IN[preset].fields)) == BUILT_IN[preset].fields


FIELDS = {
    "stop": ["\n", 'a\\b"', "\ttab", "end."],
    "seed": 2**63 - 1,
    "logit_bias": {5: -3.5, 7: 100.0},
    "allowed_token_ids": [1, 2, 3],
    "stop_token_ids": [9],
    "sampler_order": ["top_k", "temperature"],
    "structured_outputs": {"regex": "[a-z]+\\n"},
    "max_tokens": None,
    "min_tokens": 3,
    "ignore_eos": True,
    "skip_special_tokens": False,
    "logprobs_mode": "processed",
    "frequency_penalty": -1.25,
}


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_comes_back_from_its_control(name: str) -> None:
    assert fields_of(values_of({name: FIELDS[name]})) == {name: FIELDS[name]}


@given(st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=5))
def test_any_stop_strings_come_back(stop: list[str]) -> None:
    assert fields_of(values_of({"stop": stop})) == {"stop": stop}


def test_people_write_line_ends_as_backslash_n() -> None:
    assert fields_of(with_value("stop", "\\n\\n\nThe end"))["stop"] == ["\n\n", "The end"]


def test_an_empty_number_means_what_it_can_mean() -> None:
    assert fields_of(with_value("max_tokens", None)) == {"max_tokens": None}  # until the context is full
    assert fields_of(with_value("top_k", None)) == {}


@pytest.mark.parametrize(
    "name, value, said",
    [
        ("seed", "12x", "seed='12x' is not allowed: a whole number or none"),
        ("logit_bias", "{", "logit_bias='{' is not allowed: a JSON object"),
        ("stop_token_ids", "a", "stop_token_ids='a' is not allowed: a list of whole numbers"),
        ("top_p", 0, "top_p=0.0 is not allowed"),
        ("structured_outputs", '{"jsn": {}}', "structured_outputs"),
    ],
)
def test_a_mistake_names_its_field(name: str, value: Any, said: str) -> None:
    with pytest.raises(ParameterError) as error:
        fields_of(with_value(name, value))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_sliders_reach_what_their_field_allows() -> None:
    for field in sampler_fields():
        if field.control is Control.SLIDER:
            assert field.low <= field.neutral <= field.high
            RANGES[field.name].check(field.name, field.high)
