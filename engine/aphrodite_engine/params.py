"""What one request asks of the sampler: every field is checked on construction and none is ignored."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Any, Literal

from aphrodite_engine.errors import ParameterError
from aphrodite_engine.param_checks import (
    Range,
    check_boolean,
    checked_allowed_ids,
    checked_ids,
    checked_logit_bias,
    checked_strings,
)
from aphrodite_engine.repetition_detection import RepetitionDetection, detection_of
from aphrodite_engine.structured_outputs import check_structured_outputs

MAX_N = 256
MAX_LOGPROBS = 20
MAX_STOP_STRINGS = 64
MAX_BREAKERS = 64
MAX_BAD_WORDS = 1024
MAX_BANNED_PHRASES = 512
#: Characters; text is held back while it may become one.
MAX_PHRASE_LENGTH = 512
MAX_SEED = 2**63 - 1
#: Smaller divisors would turn float32 logits into infinities.
MIN_DIVISOR = 1e-6
_MOST = 2**31 - 1

#: The steps a request may list, in the order they run in unless it says otherwise (SamplingParams.sampler_order), each
#: with the fields that are its own.
STEP_FIELDS: dict[str, tuple[str, ...]] = {
    "dry": ("dry_multiplier", "dry_base", "dry_allowed_length", "dry_range", "dry_sequence_breakers"),
    "penalties": ("repetition_penalty", "frequency_penalty", "presence_penalty"),
    "no_repeat_ngram": ("no_repeat_ngram_size",),
    "temperature": ("temperature", "dynatemp_min", "dynatemp_max", "dynatemp_exponent"),
    "top_n_sigma": ("top_n_sigma",),
    "top_k": ("top_k",),
    "top_p": ("top_p",),
    "top_a": ("top_a",),
    "min_p": ("min_p",),
    "tfs": ("tfs",),
    "eta_cutoff": ("eta_cutoff",),
    "epsilon_cutoff": ("epsilon_cutoff",),
    "typical_p": ("typical_p",),
    "quadratic": ("smoothing_factor", "smoothing_curve"),
    "xtc": ("xtc_threshold", "xtc_probability"),
    "skew": ("skew",),
}
DEFAULT_SAMPLER_ORDER: tuple[str, ...] = tuple(STEP_FIELDS)

#: What the number in a field may be.
RANGES: dict[str, Range] = {
    "n": Range(1, MAX_N, whole=True),
    "temperature": Range(0, 100),
    "dynatemp_min": Range(0, 100),
    "dynatemp_max": Range(0, 100),
    "dynatemp_exponent": Range(0, 100),
    "top_k": Range(-1, _MOST, whole=True),
    "top_p": Range(0, 1, above=True),
    "top_a": Range(0, 1e6),
    "min_p": Range(0, 1),
    "top_n_sigma": Range(0, 100),
    "tfs": Range(0, 1, above=True),
    "typical_p": Range(0, 1, above=True),
    "eta_cutoff": Range(0, 1e4),
    "epsilon_cutoff": Range(0, 1e4),
    "smoothing_factor": Range(0, 100),
    "smoothing_curve": Range(1, 10),
    "xtc_threshold": Range(0, 1),
    "xtc_probability": Range(0, 1),
    "skew": Range(-20, 20),
    "mirostat_tau": Range(0, 100, above=True),
    "mirostat_eta": Range(0, 10),
    "adaptive_target": Range(0, 1, or_none=True),
    "adaptive_decay": Range(0, 0.99),
    "repetition_penalty": Range(MIN_DIVISOR, 100),
    "frequency_penalty": Range(-2, 2),
    "presence_penalty": Range(-2, 2),
    "no_repeat_ngram_size": Range(0, _MOST, whole=True),
    "dry_multiplier": Range(0, 100),
    "dry_base": Range(1, 100),
    "dry_allowed_length": Range(1, _MOST, whole=True),
    "dry_range": Range(0, _MOST, whole=True),
    "min_tokens": Range(0, _MOST, whole=True),
    "max_tokens": Range(1, _MOST, whole=True, or_none=True),
    "seed": Range(0, MAX_SEED, whole=True, or_none=True),
    "logprobs": Range(0, MAX_LOGPROBS, whole=True, or_none=True),
    "prompt_logprobs": Range(0, MAX_LOGPROBS, whole=True, or_none=True),
    "trace": Range(0, MAX_LOGPROBS, whole=True, or_none=True),
}

#: How the hidden states of a text become its vector.
Pooling = Literal["mean", "cls", "last"]


@dataclass(frozen=True, kw_only=True)
class SamplingParams:
    """How tokens are drawn and when a sequence ends. Defaults are neutral: the model's own distribution.

    Formulas: `aphrodite_engine.sampling`. p is the distribution as a step finds it, H its entropy in nats.

    Args:
        n: sequences to draw from one prompt (1 to 256); they share the prompt's KV blocks.
        temperature: logits are divided by it; 0 is greedy. 0, or [1e-6, 100].
        dynatemp_min: least temperature of a dynamic one, which grows with the entropy of p. [0, 100].
        dynatemp_max: greatest; 0 is off. Takes the place of temperature, which stays 1. [0, 100].
        dynatemp_exponent: of the entropy's share of the greatest possible. [0, 100].
        top_k: keep the k most likely tokens, ties kept; 0 or -1 is off.
        top_p: keep the smallest set of most likely tokens whose mass reaches it. (0, 1]; 1 is off.
        min_p: drop tokens less likely than min_p times the most likely. [0, 1]; 0 is off.
        top_a: drop tokens less likely than top_a times the square of the most likely. 0 is off.
        top_n_sigma: drop tokens whose logit is more than so many standard deviations below the largest. 0 is off.
        tfs: drop the tail where so much of the curvature of sorted p is behind (tail free sampling). (0, 1]; 1 is off.
        typical_p: keep the tokens whose surprise is nearest H until their mass reaches it. (0, 1]; 1 is off.
        eta_cutoff: drop tokens below min(e, sqrt(e) exp(-H)) with e of so many ten-thousandths. 0 is off.
        epsilon_cutoff: drop tokens less likely than so many ten-thousandths. 0 is off.
        smoothing_factor: bend logits by a square around the largest. 0 is off.
        smoothing_curve: with smoothing_factor, how much a cube takes part; 1 is none. [1, 10].
        xtc_threshold: what xtc counts as a top choice. [0, 1]; above 0.5 there are never two.
        xtc_probability: how often all top choices but the least likely are dropped. [0, 1]; 0 is off.
        skew: shifts mass towards unlikely tokens (above 0) or likely ones (below). [-20, 20]; 0 is off.
        mirostat_mode: 2 keeps the surprise of the text near mirostat_tau, in place of all steps; 0 is off.
        mirostat_tau: surprise aimed at, in bits. (0, 100].
        mirostat_eta: how fast mirostat learns. [0, 10].
        adaptive_target: probability that drawn tokens shall have on average; comes behind all steps. None is off.
        adaptive_decay: how long adaptive_target remembers. [0, 0.99].
        repetition_penalty: of ids seen in prompt or output, logits > 0 are divided by it, others multiplied.
            [1e-6, 100].
        frequency_penalty: times the id's count in the output, subtracted from its logit. [-2, 2].
        presence_penalty: subtracted from the logits of ids in the output. [-2, 2].
        no_repeat_ngram_size: no run of so many tokens comes twice, the prompt counted. 0 is off.
        dry_multiplier: strength of the penalty on going on with a repetition (DRY). [0, 100]; 0 is off.
        dry_base: the penalty grows by it with every token of the repetition. [1, 100].
        dry_allowed_length: repetitions of so many tokens are the first to be punished.
        dry_range: of how many last tokens repetitions are looked for; 0 is all.
        dry_sequence_breakers: a token with one of these in its text ends a repetition.
        logit_bias: token id -> value added to its logit. [-100, 100] each.
        allowed_token_ids: when given, every other id is impossible.
        bad_words: texts whose last token is impossible where the others have just come.
        banned_phrases: texts that do not come, in upper or lower case, also within a word. Text is held back while it
            may become one; where one is complete, the output goes back to the token in which it begins, and another is
            drawn in its place. Output only: a phrase may begin in the prompt.
        min_tokens: EOS and stop ids are impossible, and stop strings do not act, before this many output tokens.
        max_tokens: most output tokens; None is "until the context is full".
        stop: strings that end the text; trimmed unless include_stop_str_in_output.
        stop_token_ids: ids that end the text, besides the model's EOS ids.
        ignore_eos: do not end at EOS ids (stop_token_ids still end).
        include_stop_str_in_output: keep the stop string at the end of the text.
        skip_special_tokens: leave special tokens out of the text (they stay in token_ids).
        repetition_detection: end a text that goes round, for example {"max_pattern_size": 20, "min_pattern_size": 1,
            "min_count": 4}: with "repetition", once the output ends with the same 1 to 20 tokens 4 times in a row.
        seed: 0 to 2**63 - 1; None lets the engine choose one, which the result reports.
        logprobs: report the logprob of each drawn token and of this many most likely ones (0 to 20), and the entropy of
            the distribution, in nats. None is off.
        prompt_logprobs: the same for each prompt token.
        trace: report, of each drawn token, what every stage of sampling did to it and to this many most likely ones
            (0 to 20). None is off.
        logprobs_mode: "raw" is the model's distribution before any step, "processed" what was drawn from.
        sampler_order: names of the steps to run, in order; a step not listed is off, one may appear twice, not more.
        temperature_last: run temperature behind xtc.
        structured_outputs: what the text must look like, one of {"json": schema}, {"regex": ...}, {"choice": [...]},
            {"grammar": Lark or GBNF}, {"json_object": true}. It comes before all steps; once complete, the text ends.
            Beside it {"after": ["<think>", "</think>"]} lets a thought come first ("" where it has begun).

    Raises:
        ParameterError: naming the field, the value and what is allowed.
    """

    n: int = 1
    temperature: float = 1.0
    dynatemp_min: float = 0.0
    dynatemp_max: float = 0.0
    dynatemp_exponent: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    top_a: float = 0.0
    top_n_sigma: float = 0.0
    tfs: float = 1.0
    typical_p: float = 1.0
    eta_cutoff: float = 0.0
    epsilon_cutoff: float = 0.0
    smoothing_factor: float = 0.0
    smoothing_curve: float = 1.0
    xtc_threshold: float = 0.1
    xtc_probability: float = 0.0
    skew: float = 0.0
    mirostat_mode: Literal[0, 2] = 0
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    adaptive_target: float | None = None
    adaptive_decay: float = 0.9
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    no_repeat_ngram_size: int = 0
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    dry_range: int = 0
    dry_sequence_breakers: Sequence[str] = ("\n", ":", '"', "*")
    logit_bias: Mapping[int, float] | None = None
    allowed_token_ids: Sequence[int] | None = None
    bad_words: Sequence[str] = ()
    banned_phrases: Sequence[str] = ()
    min_tokens: int = 0
    max_tokens: int | None = 256
    stop: str | Sequence[str] | None = None
    stop_token_ids: Sequence[int] = ()
    ignore_eos: bool = False
    include_stop_str_in_output: bool = False
    skip_special_tokens: bool = True
    repetition_detection: Mapping[str, int] | None = None
    seed: int | None = None
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    trace: int | None = None
    logprobs_mode: Literal["raw", "processed"] = "raw"
    sampler_order: Sequence[str] | None = None
    temperature_last: bool = False
    structured_outputs: Mapping[str, Any] | None = None
    stop_strings: tuple[str, ...] = field(init=False, repr=False, compare=False, default=())
    detection: RepetitionDetection | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        for name, allowed in RANGES.items():
            allowed.check(name, getattr(self, name))
        for name in ("ignore_eos", "include_stop_str_in_output", "skip_special_tokens", "temperature_last"):
            check_boolean(name, getattr(self, name))
        for name, allowed in (("logprobs_mode", ("raw", "processed")), ("mirostat_mode", (0, 2))):
            _check_choice(name, getattr(self, name), allowed)
        self._keep("logit_bias", checked_logit_bias(self.logit_bias))
        self._keep("allowed_token_ids", checked_allowed_ids(self.allowed_token_ids))
        self._keep("stop_token_ids", checked_ids("stop_token_ids", self.stop_token_ids))
        self._keep("stop_strings", checked_strings("stop", self.stop, MAX_STOP_STRINGS, "stop strings"))
        self._keep("bad_words", checked_strings("bad_words", self.bad_words, MAX_BAD_WORDS, "bad words"))
        phrases = checked_strings(
            "banned_phrases", self.banned_phrases, MAX_BANNED_PHRASES, "phrases", MAX_PHRASE_LENGTH
        )
        self._keep("banned_phrases", phrases)
        self._keep("detection", detection_of(self.repetition_detection))
        breakers = checked_strings("dry_sequence_breakers", self.dry_sequence_breakers, MAX_BREAKERS, "breakers")
        self._keep("dry_sequence_breakers", breakers)
        check_structured_outputs(self.structured_outputs)
        self._check_together()
        if not self.mirostat_mode:
            self._keep("sampler_order", _sampler_order(self.sampler_order, self.temperature_last))

    def _keep(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _check_together(self) -> None:
        """Fields that are fine alone and impossible, or one of them without effect, beside another."""
        if 0 < self.temperature < MIN_DIVISOR:
            raise ParameterError("temperature", self.temperature, f"0 (greedy), or at least {MIN_DIVISOR:g}")
        if self.max_tokens is not None and self.min_tokens > self.max_tokens:
            raise ParameterError("min_tokens", self.min_tokens, f"at most max_tokens={self.max_tokens}")
        if self.dynatemp_min > self.dynatemp_max:
            raise ParameterError("dynatemp_min", self.dynatemp_min, f"at most dynatemp_max={self.dynatemp_max:g}")
        if self.dynatemp_max > 0 and self.temperature != 1:
            raise ParameterError("temperature", self.temperature, "1, since dynatemp_max takes its place")
        if self.adaptive_target is not None and self.temperature == 0:
            raise ParameterError("adaptive_target", self.adaptive_target, "None, since temperature=0 leaves no choice")
        if self.mirostat_mode:
            self._check_mirostat_is_alone()

    def _check_mirostat_is_alone(self) -> None:
        others = (
            "adaptive_target",
            "sampler_order",
            "temperature_last",
            *(name for own in STEP_FIELDS.values() for name in own),
        )
        for name in others:
            neutral = type(self).__dataclass_fields__[name].default
            if getattr(self, name) != neutral:
                raise ParameterError(
                    name, getattr(self, name), f"{neutral}, since mirostat_mode=2 takes the place of all steps"
                )

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
        if self.sampler_order == _sampler_order(None, self.temperature_last):
            changes = {"sampler_order": None} | changes  # it was not given, and depends on what may change
        return replace(self, **changes)


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """What to say of a name that is not among the known ones."""
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"no such parameter; {hint}known: {', '.join(known)}"


def _check_choice(name: str, value: object, allowed: tuple[object, ...]) -> None:
    # True == 1 and 0 == False: a choice is of its own type.
    if not any(value == choice and type(value) is type(choice) for choice in allowed):
        raise ParameterError(name, value, " or ".join(map(repr, allowed)))


def _sampler_order(value: Sequence[str] | None, temperature_last: bool) -> tuple[str, ...]:
    known = ", ".join(DEFAULT_SAMPLER_ORDER)
    order = list(DEFAULT_SAMPLER_ORDER) if value is None else value
    if isinstance(order, str) or not isinstance(order, Sequence) or not order:
        raise ParameterError("sampler_order", value, f"a list of step names from {known}")
    for name in order:
        if name not in DEFAULT_SAMPLER_ORDER:
            near = difflib.get_close_matches(str(name), DEFAULT_SAMPLER_ORDER, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ParameterError("sampler_order", name, f"{hint}step names are {known}")
        if order.count(name) > 2:
            # More would let one request hold up all others, and tiny temperatures multiply to float32's zero.
            raise ParameterError("sampler_order", name, "a step at most twice in the list")
    return tuple(_temperature_behind_xtc(order) if temperature_last else order)


def _temperature_behind_xtc(order: Sequence[str]) -> list[str]:
    """Behind the last xtc, or at the end where there is none."""
    if "temperature" not in order:
        return list(order)
    others = [name for name in order if name != "temperature"]
    place = max((at + 1 for at, name in enumerate(others) if name == "xtc"), default=len(others))
    return [*others[:place], "temperature", *others[place:]]
