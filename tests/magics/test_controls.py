"""Sliders and their kin: within what is allowed, and only for fields that have one."""

from __future__ import annotations

import ipywidgets
import pytest
from IPython.core.error import UsageError

from aphrodite.magics.controls import control, control_names
from aphrodite.sampling_sliders import SLIDERS
from aphrodite_engine.params import RANGES, SamplingParams
from tests.magics.conftest import Cells


@pytest.mark.parametrize("name", SLIDERS)
def test_both_ends_of_a_range_are_allowed(name: str) -> None:
    kind = type(control(name, None).value)
    for value in (SLIDERS[name].low, SLIDERS[name].high):
        RANGES[name].check(name, kind(value))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("temperature", ipywidgets.FloatSlider),
        ("max_tokens", ipywidgets.IntSlider),
        ("seed", ipywidgets.IntSlider),
        ("logprobs_mode", ipywidgets.Dropdown),
        ("ignore_eos", ipywidgets.Checkbox),
    ],
)
def test_each_kind_of_field_has_its_control(name: str, kind: type) -> None:
    assert name in control_names()
    assert isinstance(control(name, getattr(SamplingParams(), name)), kind)


def test_a_value_beyond_the_usual_is_shown_where_it_is() -> None:
    slider = control("temperature", 5.0)
    assert (slider.value, slider.max) == (5.0, 5.0)
    assert control("max_tokens", 100_000).value == 100_000


@pytest.mark.parametrize(
    ("names", "said"), [("stop", "no slider for 'stop'"), ("temperture", "did you mean temperature")]
)
def test_a_field_without_a_control_is_said_before_anything_runs(cells: Cells, names: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        cells(f"%%aphrodite --interact {names}\nx")
