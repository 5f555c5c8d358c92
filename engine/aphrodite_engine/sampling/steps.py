"""The steps a request can list, by name: when each is on, and the pure function from logits to logits that it is.

A step only ever gets rows for which it is on, so that "off" changes nothing, not even by rounding.
Rows never mix: every value comes from the row itself. Formulas and sources stand in the functions' docstrings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from aphrodite_engine.params import SamplingParams
from aphrodite_engine.sampling import repetition, reshaping, truncation
from aphrodite_engine.sampling.row import SamplerRow

Rows = Sequence[SamplerRow]


@dataclass(frozen=True)
class Step:
    """A named step.

    Attributes:
        is_on: whether a request switches it on.
        apply: logits (R, V) float32 and their rows to logits; with `tosses`, also the purpose that keys its coins.
        reorders: it may change which logit is largest, so that greedy rows need it too.
    """

    is_on: Callable[[SamplingParams], bool]
    apply: Callable[..., torch.Tensor]
    tosses: bool = False
    reorders: bool = False


def _penalised(params: SamplingParams) -> bool:
    return (params.repetition_penalty, params.frequency_penalty, params.presence_penalty) != (1, 0, 0)


#: dynamic_temperature is what a listed "temperature" becomes for a request with dynatemp_max.
STEPS: dict[str, Step] = {
    "dry": Step(lambda p: p.dry_multiplier > 0, repetition.dry, reorders=True),
    "penalties": Step(_penalised, repetition.penalties, reorders=True),
    "no_repeat_ngram": Step(lambda p: p.no_repeat_ngram_size > 0, repetition.no_repeat_ngram, reorders=True),
    "temperature": Step(lambda p: p.temperature not in (0, 1), reshaping.temperature),
    "dynamic_temperature": Step(lambda p: p.dynatemp_max > 0, reshaping.dynamic_temperature),
    "top_n_sigma": Step(lambda p: p.top_n_sigma > 0, truncation.top_n_sigma),
    "top_k": Step(lambda p: p.top_k > 0, truncation.top_k),
    "top_p": Step(lambda p: p.top_p < 1, truncation.top_p),
    "top_a": Step(lambda p: p.top_a > 0, truncation.top_a),
    "min_p": Step(lambda p: p.min_p > 0, truncation.min_p),
    "tfs": Step(lambda p: p.tfs < 1, truncation.tfs),
    "eta_cutoff": Step(lambda p: p.eta_cutoff > 0, truncation.eta_cutoff),
    "epsilon_cutoff": Step(lambda p: p.epsilon_cutoff > 0, truncation.epsilon_cutoff),
    "typical_p": Step(lambda p: p.typical_p < 1, truncation.typical_p, reorders=True),
    "quadratic": Step(lambda p: p.smoothing_factor > 0, reshaping.quadratic, reorders=True),
    "xtc": Step(lambda p: p.xtc_probability > 0, truncation.xtc, tosses=True, reorders=True),
    "skew": Step(lambda p: p.skew != 0, reshaping.skew, reorders=True),
}


def steps_of(params: SamplingParams) -> tuple[str, ...]:
    """Keys of STEPS that are on for a request, in its order; for a greedy one as far as they change what is largest.

    Behind temperature 0 one token is left, which no step takes away.
    """
    if params.mirostat_mode:
        return ()
    names = [_kind(name, params) for name in params.sampler_order or ()]
    if is_greedy(params):
        names = [name for name in names[: names.index("temperature")] if STEPS[name].reorders]
    return tuple(name for name in names if STEPS[name].is_on(params))


#: Purposes of random numbers: two draws of one sequence never share numbers. 0 draws the token; the first step that
#: tosses has PURPOSE_COINS, each further one the next. Behind a token that was taken back all of them are others.
PURPOSE_TOKEN = 0
PURPOSE_COINS = 0x100
_PURPOSES_OF_AN_ATTEMPT = 0x10000


def purpose_of(purpose: int, rows: Rows) -> int:
    """The key for rows of one attempt."""
    return purpose + rows[0].attempt * _PURPOSES_OF_AN_ATTEMPT


def run_steps(names: Sequence[str], logits: torch.Tensor, rows: Rows) -> Iterator[tuple[str, int | None, torch.Tensor]]:
    """Run the steps one after the other over rows of one attempt.

    Gives each one's name, the purpose of its coins, and the logits behind it.
    """
    purpose = purpose_of(PURPOSE_COINS, rows)
    for name in names:
        step = STEPS[name]
        if step.tosses:
            logits = step.apply(logits, rows, purpose)
            yield name, purpose, logits
            purpose += 1
        else:
            logits = step.apply(logits, rows)
            yield name, None, logits


def is_greedy(params: SamplingParams) -> bool:
    """Temperature 0; a request whose order leaves temperature out is not, since what is not listed is off."""
    return params.temperature == 0 and "temperature" in (params.sampler_order or ())


def _kind(name: str, params: SamplingParams) -> str:
    return "dynamic_temperature" if name == "temperature" and params.dynatemp_max > 0 else name


def uses_history(params: SamplingParams) -> bool:
    """Whether a sequence of this request must keep counts of its tokens."""
    return "penalties" in steps_of(params)


def uses_suffixes(params: SamplingParams) -> bool:
    """Whether a sequence of this request must know where it repeats itself."""
    return not {"dry", "no_repeat_ngram"}.isdisjoint(steps_of(params))
