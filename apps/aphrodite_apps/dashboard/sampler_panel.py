"""The sampling fields beside every tab: groups, presets, and the way back to neutral."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import gradio as gr

from aphrodite.presets import Presets
from aphrodite_apps.dashboard.sampler_fields import (
    Control,
    SamplerField,
    sampler_fields,
    values_of,
)
from aphrodite_engine.errors import AphroditeError

NEUTRAL = "neutral"
_OWN = ""


@dataclass(frozen=True)
class SamplerPanel:
    """The panel's parts.

    Attributes:
        controls: of the fields, in the order of `sampler_fields`.
    """

    preset: gr.Dropdown
    controls: Sequence[Any]

    @property
    def seed(self) -> Any:
        """Its field."""
        names = [field.name for field in sampler_fields()]
        return self.controls[names.index("seed")]


def build() -> SamplerPanel:
    """Draw the panel and connect what happens inside it."""
    with gr.Row(elem_classes="preset-row"):
        preset = gr.Dropdown(
            _choices(), value=NEUTRAL, label="Preset", show_label=False, container=False, scale=2, min_width=120,
            elem_id="preset",
        )  # fmt: skip
        neutralise = gr.Button("Neutralise", size="md", scale=1, min_width=100, elem_id="neutralise")
    about = gr.Markdown(about_preset(NEUTRAL), elem_id="preset-about")
    controls: list[Any] = []
    for number, (group, fields) in enumerate(groupby(sampler_fields(), lambda field: field.group)):
        with gr.Accordion(group, open=number == 0):
            controls += [_control(field) for field in fields]
    preset.input(
        lambda name: [about_preset(name), *preset_values(name)], preset, [about, *controls], queue=False,
        show_progress="hidden", api_visibility="private",
    )  # fmt: skip
    neutralise.click(
        lambda: [NEUTRAL, about_preset(NEUTRAL), *preset_values(NEUTRAL)], None, [preset, about, *controls],
        queue=False, show_progress="hidden", api_visibility="private",
    )  # fmt: skip
    for control in controls:  # what was changed by hand is no longer the preset
        control.input(
            None, None, [preset, about], js="() => ['', '']", show_progress="hidden", api_visibility="private"
        )
    preset.focus(
        lambda: gr.update(choices=_choices()), None, preset, queue=False, show_progress="hidden",
        api_visibility="private",
    )  # fmt: skip
    return SamplerPanel(preset, controls)


def preset_values(name: str | None) -> list[Any]:
    """What the controls show for a preset; a slider reaches as far as its value."""
    if not name:
        return [gr.skip() for _ in sampler_fields()]
    try:
        values = values_of(Presets().read(name))
    except AphroditeError as error:
        raise gr.Error(str(error), print_exception=False) from error
    return [_update(field, value) for field, value in zip(sampler_fields(), values, strict=True)]


def about_preset(name: str | None) -> str:
    """What it is for."""
    return next((found.why for found in Presets().all() if found.name == name), "")


def _choices() -> list[tuple[str, str]]:
    return [*((f"Preset: {name}", name) for name in Presets().names()), ("My own values", _OWN)]


def _update(field: SamplerField, value: Any) -> Any:
    if field.control is Control.SLIDER:
        return gr.update(value=value, maximum=max(field.high, value))
    return gr.update(value=value)


def _control(field: SamplerField) -> Any:
    about: dict[str, Any] = {"label": field.name, "info": field.meaning, "elem_id": f"field-{field.name}"}
    value = values_of({})[sampler_fields().index(field)]
    if field.control is Control.SLIDER:
        return gr.Slider(field.low, field.high, value, step=field.step, buttons=[], **about)
    if field.control is Control.NUMBER:
        return gr.Number(value, precision=0 if field.is_whole else None, **about)
    if field.control is Control.SWITCH:
        return gr.Checkbox(value, **about)
    if field.control is Control.CHOICE:
        return gr.Dropdown(list(field.choices), value=value, **about)
    lines, most = (1, 1) if field.control is Control.LINE else (2, 8)
    return gr.Textbox(value, lines=lines, max_lines=most, placeholder=_PLACEHOLDERS[field.control], **about)


_PLACEHOLDERS = {Control.LINE: "", Control.LINES: "one a line; \\n is a new line", Control.JSON: "JSON"}
