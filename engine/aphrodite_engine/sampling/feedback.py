"""Samplers that learn from the tokens they drew; they come last, and remember a few numbers a sequence.

Both work on p as they find it: the probability of the drawn token, before they changed anything, is what they learn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from aphrodite_engine.params import SamplingParams
from aphrodite_engine.sampling.row import SamplerRow

Rows = Sequence[SamplerRow]
Memory = tuple[float, ...]

#: The smallest float32 above 0.
_LEAST_FLOAT = 2.0**-149
#: adaptive_p: height, steepness and width of the hill, and the least likely token that takes part.
_PEAK, _STEEPNESS, _WIDTH, _LEAST = 5.0, 10.0, 0.3, 1e-8


@dataclass(frozen=True)
class Feedback:
    """A sampler that learns: p (R, V) float32 to logits, and what a row remembers after a token of probability p."""

    apply: Callable[[torch.Tensor, Rows], torch.Tensor]
    learn: Callable[[SamplerRow, float], Memory]


def feedback_of(params: SamplingParams) -> str | None:
    """Name of the one that a request asks for."""
    if params.mirostat_mode:
        return "mirostat"
    return "adaptive_p" if params.adaptive_target is not None else None


def mirostat(p: torch.Tensor, rows: Rows) -> torch.Tensor:
    """Mask tokens with a surprise -log2 p above mu (arXiv 2007.14966); the most likely stay."""
    mu = torch.tensor([[_mu(row)] for row in rows], dtype=torch.float64, device=p.device)
    surprising = (-p.double().log2() > mu) & (p < p.amax(dim=1, keepdim=True))
    return p.log().masked_fill(surprising, float("-inf"))


def mirostat_learn(row: SamplerRow, p: float) -> Memory:
    """mu -= eta * (surprise - tau). A token that was given and not drawn may have had no chance."""
    surprise = -math.log2(max(p, _LEAST_FLOAT))
    return (_mu(row) - row.params.mirostat_eta * (surprise - row.params.mirostat_tau),)


def adaptive_p(p: torch.Tensor, rows: Rows) -> torch.Tensor:
    """A hill around t' = clamp(2 t - m, 0, 1), m the weighted mean of the probabilities drawn so far.

    logit = 5 - 10 x^2 / (1 + x), x = |p - t'| / 0.3, for p of at least 1e-8.
    """
    aim = torch.tensor([[_aim(row)] for row in rows], dtype=torch.float64, device=p.device)
    distance = (p.double() - aim).abs() / _WIDTH
    hill = (_PEAK - _STEEPNESS * distance * distance / (1 + distance)).float()
    return hill.masked_fill(p < _LEAST, float("-inf"))


def adaptive_learn(row: SamplerRow, p: float) -> Memory:
    """Sum and weight of the mean, each fading by the decay."""
    total, weight = row.feedback or (0.0, 0.0)
    decay = row.params.adaptive_decay
    return (decay * total + p, decay * weight + 1)


def _mu(row: SamplerRow) -> float:
    return row.feedback[0] if row.feedback else 2 * row.params.mirostat_tau


def _aim(row: SamplerRow) -> float:
    target = row.params.adaptive_target
    assert target is not None
    if row.feedback is None:
        return target
    total, weight = row.feedback
    return min(1.0, max(0.0, 2 * target - total / weight))


FEEDBACK: dict[str, Feedback] = {
    "mirostat": Feedback(mirostat, mirostat_learn),
    "adaptive_p": Feedback(adaptive_p, adaptive_learn),
}
