"""What one request asks of the sampler: every field is checked on construction and none is ignored."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Any, Literal

from aphrodite_engine.errors import ParameterError
from aphrodite_engine.structured_outputs import check_structured_outputs

MAX_LOGPROBS = 20
MAX_STOP_STRINGS = 64
MAX_SEED = 2**63 - 1
#: Smaller divisors would turn float32 logits into infinities.
MIN_DIVISOR = 1e-6

#: Order in which the steps on the distribution run unless a request says otherwise (SamplingParams.sampler_order).
DEFAULT_SAMPLER_ORDER: tuple[str, ...] = ("penalties", "temperature", "top_k", "top_p", "min_p")

#: How the hidden states of a text become its vector.
Pooling = Literal["mean", "cls", "last"]


@dataclass(frozen=True, kw_only=True)
class SamplingParams:
    """How tokens are drawn and when a sequence ends. Defaults are neutral: the model's own distribution.

    Args:
        n: sequences to draw from one prompt (1 to 256); they share the prompt's KV blocks.
        temperature: logits are divided by it; 0 is greedy. 0, or [1e-6, 100].
        top_k: keep the k most likely tokens, ties kept; 0 or -1 is off.
        top_p: keep the smallest set of most likely tokens whose mass reaches it. (0, 1]; 1 is off.
        min_p: drop tokens less likely than min_p times the most likely. [0, 1]; 0 is off.
        repetition_penalty: of ids seen in prompt or output, logits > 0 are divided by it, others multiplied.
            [1e-6, 100].
        frequency_penalty: times the id's count in the output, subtracted from its logit. [-2, 2].
        presence_penalty: subtracted from the logits of ids in the output. [-2, 2].
        logit_bias: token id -> value added to its logit. [-100, 100] each.
        allowed_token_ids: when given, every other id is impossible.
        min_tokens: EOS and stop ids are impossible, and stop strings do not act, before this many output tokens.
        max_tokens: most output tokens; None is "until the context is full".
        stop: strings that end the text; trimmed unless include_stop_str_in_output.
        stop_token_ids: ids that end the text, besides the model's EOS ids.
        ignore_eos: do not end at EOS ids (stop_token_ids still end).
        include_stop_str_in_output: keep the stop string at the end of the text.
        skip_special_tokens: leave special tokens out of the text (they stay in token_ids).
        seed: 0 to 2**63 - 1; None lets the engine choose one, which the result reports.
        logprobs: report the logprob of each drawn token and of this many most likely ones (0 to 20), and the entropy of
            the distribution, in nats. None is off.
        prompt_logprobs: the same for each prompt token.
        logprobs_mode: "raw" is the model's distribution before any step, "processed" what was drawn from.
        sampler_order: names of the steps to run, in order; a step not listed is off, one may appear twice.
        temperature_last: run temperature after the truncating steps.
        structured_outputs: what the text must look like, one of {"json": schema}, {"regex": ...}, {"choice": [...]},
            {"grammar": Lark or GBNF}, {"json_object": true}. It comes before all steps; once complete, the text ends.
            Beside it {"after": ["<think>", "</think>"]} lets a thought come first ("" where it has begun).

    Raises:
        ParameterError: naming the field, the value and what is allowed.
    """

    n: int = 1
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    logit_bias: Mapping[int, float] | None = None
    allowed_token_ids: Sequence[int] | None = None
    min_tokens: int = 0
    max_tokens: int | None = 256
    stop: str | Sequence[str] | None = None
    stop_token_ids: Sequence[int] = ()
    ignore_eos: bool = False
    include_stop_str_in_output: bool = False
    skip_special_tokens: bool = True
    seed: int | None = None
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    logprobs_mode: Literal["raw", "processed"] = "raw"
    sampler_order: Sequence[str] | None = None
    temperature_last: bool = False
    structured_outputs: Mapping[str, Any] | None = None
    stop_strings: tuple[str, ...] = field(init=False, repr=False, compare=False, default=())

    def __post_init__(self) -> None:
        _integer("n", self.n, 1, 256)
        _number("temperature", self.temperature, 0.0, 100.0)
        if 0 < self.temperature < MIN_DIVISOR:
            raise ParameterError("temperature", self.temperature, f"0 (greedy), or at least {MIN_DIVISOR:g}")
        _integer("top_k", self.top_k, -1, 2**31 - 1)
        _number("top_p", self.top_p, 0.0, 1.0, above=True)
        _number("min_p", self.min_p, 0.0, 1.0)
        _number("repetition_penalty", self.repetition_penalty, MIN_DIVISOR, 100.0)
        _number("frequency_penalty", self.frequency_penalty, -2.0, 2.0)
        _number("presence_penalty", self.presence_penalty, -2.0, 2.0)
        _integer("min_tokens", self.min_tokens, 0, 2**31 - 1)
        _optional_integer("max_tokens", self.max_tokens, 1, 2**31 - 1)
        _optional_integer("seed", self.seed, 0, MAX_SEED)
        _optional_integer("logprobs", self.logprobs, 0, MAX_LOGPROBS)
        _optional_integer("prompt_logprobs", self.prompt_logprobs, 0, MAX_LOGPROBS)
        for name in ("ignore_eos", "include_stop_str_in_output", "skip_special_tokens", "temperature_last"):
            _boolean(name, getattr(self, name))
        if self.max_tokens is not None and self.min_tokens > self.max_tokens:
            raise ParameterError("min_tokens", self.min_tokens, f"at most max_tokens={self.max_tokens}")
        if self.logprobs_mode not in ("raw", "processed"):
            raise ParameterError("logprobs_mode", self.logprobs_mode, "'raw' or 'processed'")
        object.__setattr__(self, "logit_bias", _logit_bias(self.logit_bias))
        object.__setattr__(self, "allowed_token_ids", _allowed_ids(self.allowed_token_ids))
        object.__setattr__(self, "stop_token_ids", _ids("stop_token_ids", self.stop_token_ids))
        object.__setattr__(self, "stop_strings", _stop_strings(self.stop))
        check_structured_outputs(self.structured_outputs)
        object.__setattr__(self, "sampler_order", _sampler_order(self.sampler_order, self.temperature_last))

    @classmethod
    @cache
    def field_names(cls) -> tuple[str, ...]:
        """Names a caller may give, in the order of the documentation above."""
        return tuple(f.name for f in fields(cls) if f.init)

    @classmethod
    def from_fields(cls, values: Mapping[str, Any]) -> SamplingParams:
        """Build from a mapping; an unknown name is refused with the nearest known one."""
        unknown = [name for name in values if name not in cls.field_names()]
        if unknown:
            raise ParameterError(unknown[0], values[unknown[0]], did_you_mean(unknown[0], cls.field_names()))
        return cls(**values)

    def with_fields(self, **changes: Any) -> SamplingParams:
        """A copy with some fields changed, checked again."""
        return replace(self, **changes)


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """What to say of a name that is not among the known ones."""
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"no such parameter; {hint}known: {', '.join(known)}"


def _integer(name: str, value: object, low: int, high: int) -> None:
    # bool is an int in Python; True for max_tokens is a mistake, not a 1.
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ParameterError(name, value, f"an integer from {low} to {high}")


def _optional_integer(name: str, value: object, low: int, high: int) -> None:
    if value is not None:
        _integer(name, value, low, high)


def _number(name: str, value: object, low: float, high: float, *, above: bool = False) -> None:
    excluded = low if above else None
    # NaN fails every comparison, so the bounds refuse it together with the infinities.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high or value == excluded:
        raise ParameterError(name, value, f"a finite number {'above' if above else 'from'} {low:g} up to {high:g}")


def _boolean(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise ParameterError(name, value, "True or False")


def _ids(name: str, value: object) -> tuple[int, ...]:
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        raise ParameterError(name, value, "a list of token ids")
    for item in value:
        if isinstance(item, bool) or not isinstance(item, int) or item < 0:
            raise ParameterError(name, item, "token ids are integers of 0 or more")
    return tuple(value)


def _allowed_ids(value: Sequence[int] | None) -> tuple[int, ...] | None:
    if value is None:
        return None
    ids = _ids("allowed_token_ids", value)
    if not ids:
        raise ParameterError("allowed_token_ids", value, "at least one token id (None is 'all')")
    return tuple(sorted(set(ids)))


def _logit_bias(value: Mapping[int, float] | None) -> dict[int, float] | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise ParameterError("logit_bias", value, "a mapping from token id to a number from -100 to 100")
    for token_id, bias in value.items():
        _ids("logit_bias", [token_id])
        _number(f"logit_bias[{token_id}]", bias, -100.0, 100.0)
    return {token_id: float(value[token_id]) for token_id in sorted(value)} or None


def _stop_strings(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    strings = (value,) if isinstance(value, str) else value
    if not isinstance(strings, Sequence) or len(strings) > MAX_STOP_STRINGS:
        raise ParameterError("stop", value, f"a string or a list of at most {MAX_STOP_STRINGS} strings")
    for string in strings:
        if not isinstance(string, str) or not string:
            raise ParameterError("stop", string, "stop strings are non-empty strings")
    return tuple(strings)


def _sampler_order(value: Sequence[str] | None, temperature_last: bool) -> tuple[str, ...]:
    order = DEFAULT_SAMPLER_ORDER if value is None else value
    if isinstance(order, str) or not isinstance(order, Sequence):
        raise ParameterError("sampler_order", value, f"a list of step names from {', '.join(DEFAULT_SAMPLER_ORDER)}")
    for name in order:
        if name not in DEFAULT_SAMPLER_ORDER:
            raise ParameterError("sampler_order", name, f"step names are {', '.join(DEFAULT_SAMPLER_ORDER)}")
    if temperature_last and "temperature" in order:
        order = [name for name in order if name != "temperature"] + ["temperature"]
    return tuple(order)
