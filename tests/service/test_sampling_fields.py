"""The sampling fields of a request are those of the engine: none is missing, none is unknown to it."""

from __future__ import annotations

import msgspec
import pytest

from aphrodite.service.errors import ApiError
from aphrodite.service.openai.sampling import MAX_TEMPERATURE, SamplingFields, checked, given_fields
from aphrodite_engine.params import RANGES, SamplingParams

#: Each route has a shape of its own for it: a number, or true beside top_logprobs.
FILLED_BY_ROUTES = {"logprobs", "trace"}


def test_every_sampling_parameter_of_the_engine_is_a_field_of_a_request() -> None:
    fields = {field.name for field in msgspec.structs.fields(SamplingFields)}
    assert fields == set(SamplingParams.field_names()) - FILLED_BY_ROUTES


def test_the_document_tells_the_engine_s_ranges() -> None:
    properties = msgspec.json.schema(SamplingFields)["$defs"]["SamplingFields"]["properties"]
    for name, allowed in RANGES.items():
        if name in FILLED_BY_ROUTES:
            continue
        told = next(kind for kind in properties[name]["anyOf"] if kind["type"] != "null")
        high = MAX_TEMPERATURE if name == "temperature" else allowed.high
        assert told["exclusiveMinimum" if allowed.above else "minimum"] == allowed.low, name
        assert told["maximum"] == high, name


def test_a_field_that_is_not_given_keeps_the_engine_s_default() -> None:
    assert given_fields(SamplingFields()) == {}
    for field in msgspec.structs.fields(SamplingFields):
        assert field.default is None


def test_fields_arrive_as_they_were_given() -> None:
    given = {"temperature": 0.5, "logit_bias": {"7": -1.5}, "stop": ["a"], "seed": 3, "ignore_eos": False}
    fields = checked(given_fields(msgspec.convert(given, SamplingFields)))
    assert fields == given


@pytest.mark.parametrize("key", ["-1", "01", "1.0", "a", "", "٣", "9999999999", " 1"])
def test_a_key_of_logit_bias_is_a_token_id(key: str) -> None:
    with pytest.raises(ApiError, match="logit_bias"):
        given_fields(SamplingFields(logit_bias={key: 1.0}))
