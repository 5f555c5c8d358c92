"""Controls for sampling fields: sliders for numbers, dropdowns for choices, checkboxes for switches."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin, get_type_hints

from aphrodite.argument_parser import nearest
from aphrodite.magics.errors import UsageError
from aphrodite.sampling_flags import without_none
from aphrodite.sampling_sliders import SLIDERS
from aphrodite_engine.params import SamplingParams


def control_names() -> list[str]:
    """Fields that have a control."""
    return [name for name in SamplingParams.field_names() if name in SLIDERS or _is_switch(name) or _choices(name)]


def control(name: str, value: Any) -> Any:
    """The widget of one field, set to `value`; None is where its range begins.

    Raises:
        UsageError: there is no such field, or no control for its kind.
    """
    import ipywidgets as widgets

    known = control_names()
    if name not in known:
        raise UsageError(f"no slider for {name!r}{nearest(name, known)} (there are some for: {', '.join(known)})")
    look = {"description": name, "style": {"description_width": "9em"}, "layout": widgets.Layout(width="32em")}
    if _is_switch(name):
        return widgets.Checkbox(value=value, indent=True, **look)
    if choices := _choices(name):
        return widgets.Dropdown(options=choices, value=value, **look)
    place = SLIDERS[name]
    value = place.low if value is None else value
    kind, convert = (widgets.IntSlider, int) if _is_whole(name) else (widgets.FloatSlider, float)
    # A value outside what is usual, from a flag or a preset, is still shown where it is.
    low, high = convert(min(place.low, value)), convert(max(place.high, value))
    return kind(value=convert(value), min=low, max=high, step=convert(place.step), **look)


def _kind(name: str) -> Any:
    return without_none(get_type_hints(SamplingParams)[name])[0][0]


def _is_switch(name: str) -> bool:
    return _kind(name) is bool


def _is_whole(name: str) -> bool:
    return _kind(name) is int


def _choices(name: str) -> tuple[str, ...]:
    kind = _kind(name)
    return get_args(kind) if get_origin(kind) is Literal else ()
