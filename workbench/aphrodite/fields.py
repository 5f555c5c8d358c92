"""Sampling parameters given as keywords: `generate("Once", temperature=0)` beside `generate("Once", params)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, overload

from aphrodite_engine.errors import ParameterError
from aphrodite_engine.params import SamplingParams, did_you_mean

Params = SamplingParams | Sequence[SamplingParams] | None


@overload
def with_keywords(params: SamplingParams | None, fields: Mapping[str, Any]) -> SamplingParams | None: ...
@overload
def with_keywords(params: Params, fields: Mapping[str, Any]) -> Params: ...
def with_keywords(params: Params, fields: Mapping[str, Any]) -> Params:
    """The parameters, changed by the fields.

    Raises:
        ParameterError: a field that is unknown or out of range.
    """
    for name in fields:
        if name not in SamplingParams.field_names():
            raise ParameterError(name, fields[name], did_you_mean(name, SamplingParams.field_names()))
    if not fields:
        return params
    if params is None:
        return SamplingParams(**fields)
    if isinstance(params, SamplingParams):
        return params.with_fields(**fields)
    return [one.with_fields(**fields) for one in params]


def split_fields(fields: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of the keywords of a chat: those of SamplingParams, and those of the chat template."""
    known = SamplingParams.field_names()
    sampling = {name: value for name, value in fields.items() if name in known}
    return sampling, {name: value for name, value in fields.items() if name not in known}
