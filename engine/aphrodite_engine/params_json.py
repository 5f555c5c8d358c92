"""Sampling parameters as JSON has them: the fields that differ from their defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aphrodite_engine.params import SamplingParams

_DEFAULTS = SamplingParams()


def params_to_json(params: SamplingParams) -> dict[str, Any]:
    """Fields that differ from their defaults; keys of logit_bias are strings, since JSON has no others."""
    fields = {name: getattr(params, name) for name in SamplingParams.field_names()}
    changed = {name: _plain(value) for name, value in fields.items() if value != getattr(_DEFAULTS, name)}
    if params.mirostat_mode:
        del changed["sampler_order"]  # mirostat has none, whatever the default is
    return changed


def params_from_json(fields: Mapping[str, Any]) -> SamplingParams:
    """What params_to_json wrote.

    Raises:
        ParameterError: naming the field.
    """
    bias = fields.get("logit_bias")
    if isinstance(bias, Mapping):
        fields = {**fields, "logit_bias": {_token_id(key): value for key, value in bias.items()}}
    return SamplingParams.from_fields(fields)


def _token_id(key: Any) -> Any:
    return int(key) if isinstance(key, str) and key.isascii() and key.isdigit() else key


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value
