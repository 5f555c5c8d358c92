"""Steps that move probability between tokens. Logits (R, V) float32 to logits; p is softmax(logits)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from aphrodite_engine.params import MIN_DIVISOR
from aphrodite_engine.running.upload import uploaded
from aphrodite_engine.sampling.ordering import descending, entropy
from aphrodite_engine.sampling.row import SamplerRow
from aphrodite_engine.sampling.row_sums import running_sum, softmax
from aphrodite_engine.sampling.truncation import column

Rows = Sequence[SamplerRow]


def temperature(logits: torch.Tensor, rows: Rows) -> torch.Tensor:
    """l / T. Greedy rows (T = 0) never get here."""
    return logits / column(logits, [row.params.temperature for row in rows])


def dynamic_temperature(logits: torch.Tensor, rows: Rows) -> torch.Tensor:
    """l / T with T = min + (max - min) * h^exponent, h = H / ln(possible tokens); one possible token has h = 0."""
    bounds = [(row.params.dynatemp_min, row.params.dynatemp_max, row.params.dynatemp_exponent) for row in rows]
    low, high, exponent = uploaded(bounds, torch.float64, logits.device).T[:, :, None]
    most = (logits > float("-inf")).sum(1, keepdim=True).clamp(min=2).double().log()
    share = (entropy(logits) / most).clamp(0, 1)
    heat = (low + (high - low) * share**exponent).clamp(min=MIN_DIVISOR)
    return logits / heat.float()


def quadratic(logits: torch.Tensor, rows: Rows) -> torch.Tensor:
    """d = l - max l, k = f (3 - c) / 2, s = f (c - 1) / 2: l = max l + d^2 (s d - k)."""
    factor = column(logits, [row.params.smoothing_factor for row in rows])
    curve = column(logits, [row.params.smoothing_curve for row in rows])
    best = logits.amax(dim=1, keepdim=True)
    distance = logits - best
    bent = best + distance * distance * (factor * (curve - 1) / 2 * distance - factor * (3 - curve) / 2)
    return torch.where(logits > float("-inf"), bent, logits)


def skew(logits: torch.Tensor, rows: Rows) -> torch.Tensor:
    """p sorted, C its running sum: p' = differences of C^exp(s)."""
    p = softmax(logits)
    ids = descending(p)
    mass = running_sum(p.gather(1, ids))
    exponent = uploaded([[row.params.skew] for row in rows], torch.float64, logits.device).exp()
    bent = (mass / mass[:, -1:]) ** exponent
    skewed = torch.diff(bent, dim=1, prepend=torch.zeros_like(bent[:, :1])).clamp(min=0)
    return torch.empty_like(logits).scatter(1, ids, skewed.log().float())
