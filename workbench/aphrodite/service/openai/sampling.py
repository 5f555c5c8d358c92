"""Sampling fields as they come over the wire, and the engine's parameters made from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from aphrodite.service.errors import bad_request
from aphrodite_engine.errors import ParameterError
from aphrodite_engine.params import (
    MAX_BAD_WORDS,
    MAX_BANNED_PHRASES,
    MAX_BREAKERS,
    MAX_LOGPROBS,
    MAX_SEED,
    MAX_STOP_STRINGS,
    MIN_DIVISOR,
    SamplingParams,
)

MAX_TEMPERATURE = 2.0
#: Lists are checked entry by entry while every other request waits, so they end somewhere.
MAX_LOGIT_BIAS = 4096
MAX_ALLOWED_IDS = 2**18
MAX_STOP_IDS = 1024
MAX_SAMPLER_STEPS = 64

#: Whether the model's vocabulary has it is for the engine to say.
TokenId = Annotated[int, Meta(ge=0, lt=2**31)]


def told(**keywords: Any) -> Meta:
    """Keywords of JSON schema for the OpenAPI document, of what SamplingParams checks: its errors say it better."""
    return Meta(extra_json_schema=keywords)


_MOST = 2**31 - 1


class SamplingFields(msgspec.Struct, kw_only=True):
    """Every field of the engine's SamplingParams that a request may carry; None is "not given".

    The ranges are those of SamplingParams, which checks them; OpenAI's own are narrower for temperature.
    """

    n: Annotated[int, told(minimum=1, maximum=256)] | None = None
    temperature: Annotated[float, told(minimum=0, maximum=MAX_TEMPERATURE)] | None = None
    dynatemp_min: Annotated[float, told(minimum=0, maximum=100)] | None = None
    dynatemp_max: Annotated[float, told(minimum=0, maximum=100)] | None = None
    dynatemp_exponent: Annotated[float, told(minimum=0, maximum=100)] | None = None
    top_k: Annotated[int, told(minimum=-1, maximum=_MOST)] | None = None
    top_p: Annotated[float, told(exclusiveMinimum=0, maximum=1)] | None = None
    min_p: Annotated[float, told(minimum=0, maximum=1)] | None = None
    top_a: Annotated[float, told(minimum=0, maximum=1e6)] | None = None
    top_n_sigma: Annotated[float, told(minimum=0, maximum=100)] | None = None
    tfs: Annotated[float, told(exclusiveMinimum=0, maximum=1)] | None = None
    typical_p: Annotated[float, told(exclusiveMinimum=0, maximum=1)] | None = None
    eta_cutoff: Annotated[float, told(minimum=0, maximum=1e4)] | None = None
    epsilon_cutoff: Annotated[float, told(minimum=0, maximum=1e4)] | None = None
    smoothing_factor: Annotated[float, told(minimum=0, maximum=100)] | None = None
    smoothing_curve: Annotated[float, told(minimum=1, maximum=10)] | None = None
    xtc_threshold: Annotated[float, told(minimum=0, maximum=1)] | None = None
    xtc_probability: Annotated[float, told(minimum=0, maximum=1)] | None = None
    skew: Annotated[float, told(minimum=-20, maximum=20)] | None = None
    mirostat_mode: Annotated[int, told(enum=[0, 2])] | None = None
    mirostat_tau: Annotated[float, told(exclusiveMinimum=0, maximum=100)] | None = None
    mirostat_eta: Annotated[float, told(minimum=0, maximum=10)] | None = None
    adaptive_target: Annotated[float, told(minimum=0, maximum=1)] | None = None
    adaptive_decay: Annotated[float, told(minimum=0, maximum=0.99)] | None = None
    repetition_penalty: Annotated[float, told(minimum=MIN_DIVISOR, maximum=100)] | None = None
    frequency_penalty: Annotated[float, told(minimum=-2, maximum=2)] | None = None
    presence_penalty: Annotated[float, told(minimum=-2, maximum=2)] | None = None
    no_repeat_ngram_size: Annotated[int, told(minimum=0, maximum=_MOST)] | None = None
    dry_multiplier: Annotated[float, told(minimum=0, maximum=100)] | None = None
    dry_base: Annotated[float, told(minimum=1, maximum=100)] | None = None
    dry_allowed_length: Annotated[int, told(minimum=1, maximum=_MOST)] | None = None
    dry_range: Annotated[int, told(minimum=0, maximum=_MOST)] | None = None
    dry_sequence_breakers: Annotated[list[str], Meta(max_length=MAX_BREAKERS)] | None = None
    logit_bias: Annotated[dict[str, float], Meta(max_length=MAX_LOGIT_BIAS)] | None = None
    allowed_token_ids: Annotated[list[TokenId], Meta(max_length=MAX_ALLOWED_IDS)] | None = None
    bad_words: Annotated[list[str], Meta(max_length=MAX_BAD_WORDS)] | None = None
    banned_phrases: Annotated[list[str], Meta(max_length=MAX_BANNED_PHRASES)] | None = None
    min_tokens: Annotated[int, told(minimum=0, maximum=_MOST)] | None = None
    max_tokens: Annotated[int, told(minimum=1, maximum=_MOST)] | None = None
    stop: str | Annotated[list[str], Meta(max_length=MAX_STOP_STRINGS)] | None = None
    stop_token_ids: Annotated[list[TokenId], Meta(max_length=MAX_STOP_IDS)] | None = None
    ignore_eos: bool | None = None
    include_stop_str_in_output: bool | None = None
    skip_special_tokens: bool | None = None
    repetition_detection: dict[str, int] | None = None
    seed: Annotated[int, told(minimum=0, maximum=MAX_SEED)] | None = None
    prompt_logprobs: Annotated[int, told(minimum=0, maximum=MAX_LOGPROBS)] | None = None
    trace: Annotated[int, told(minimum=0, maximum=MAX_LOGPROBS)] | None = None
    logprobs_mode: Annotated[str, told(enum=["raw", "processed"])] | None = None
    sampler_order: Annotated[list[str], Meta(max_length=MAX_SAMPLER_STEPS)] | None = None
    temperature_last: bool | None = None
    structured_outputs: dict[str, Any] | None = None


#: Each route has a shape of its own for logprobs: a number, or true beside top_logprobs.
_NAMES = tuple(name for name in SamplingParams.field_names() if name != "logprobs")


def given_fields(request: SamplingFields) -> dict[str, Any]:
    """The fields that the request carries."""
    given = {name: value for name in _NAMES if (value := getattr(request, name)) is not None}
    if "logit_bias" in given:
        given["logit_bias"] = {_token_id(key): value for key, value in given["logit_bias"].items()}
    return given


def checked(given: Mapping[str, Any], max_temperature: float = MAX_TEMPERATURE) -> dict[str, Any]:
    """The same fields, once SamplingParams has accepted them.

    Raises:
        ApiError: 400, naming the field, the value and what is allowed.
    """
    temperature = given.get("temperature")
    if temperature is not None and not 0 <= temperature <= max_temperature:
        raise bad_request(
            f"temperature={temperature} is not allowed: a number from 0 to {max_temperature:g}",
            "temperature",
            "invalid_value",
        )
    try:
        SamplingParams.from_fields(given)
    except ParameterError as error:
        raise bad_request(str(error), error.field, "invalid_value") from None
    # Keys of a JSON object are strings; msgpack could carry integers, the boundary does not.
    fields = dict(given)
    if fields.get("logit_bias"):
        fields["logit_bias"] = {str(key): value for key, value in fields["logit_bias"].items()}
    return fields


def _token_id(key: str) -> int:
    if not (key.isascii() and key.isdigit() and len(key) < 10 and key == str(int(key))):
        raise bad_request(f"logit_bias: {key[:40]!r} is not a token id", "logit_bias", "invalid_value")
    return int(key)
