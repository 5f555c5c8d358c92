"""The steps a request can list, each a pure function from logits (R, V) float32 to logits.

A step only ever gets rows for which it is on, so that "off" changes nothing, not even by rounding.
Rows never mix: every value comes from the row itself. Meanings and sources: the tables in the sampler
documentation; formulas are repeated here in the docstrings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from aphrodite_engine.params import SamplingParams
from aphrodite_engine.sampling.history import TokenHistory
from aphrodite_engine.sampling.row import SamplerRow
from aphrodite_kernels.nucleus import nucleus

Rows = Sequence[SamplerRow]


@dataclass(frozen=True)
class Step:
    """A named step: when a request switches it on, and what it does to its rows."""

    is_on: Callable[[SamplingParams], bool]
    apply: Callable[[torch.Tensor, Rows], torch.Tensor]


def penalties(logits: torch.Tensor, rows: Rows) -> torch.Tensor:
    """Repetition: l > 0 -> l / r, else l * r, for ids in prompt or output. Then l -= f * count + a * [count > 0]."""
    histories = [_history(row) for row in rows]
    seen = torch.stack([history.seen for history in histories])
    counts = torch.stack([history.counts for history in histories])
    repetition = _column(logits, [row.params.repetition_penalty for row in rows])
    frequency = _column(logits, [row.params.frequency_penalty for row in rows])
    presence = _column(logits, [row.params.presence_penalty for row in rows])
    repeated = torch.where(logits > 0, logits / repetition, logits * repetition)
    logits = torch.where(seen, repeated, logits)
    return torch.where(counts > 0, logits - frequency * counts - presence, logits)


def temperature(logits: torch.Tensor, rows: Rows) -> torch.Tensor:
    """l / T. Greedy rows (T = 0) never get here."""
    return logits / _column(logits, [row.params.temperature for row in rows])


def top_k(logits: torch.Tensor, rows: Rows) -> torch.Tensor:
    """Keep the k largest; ties at the k-th are kept."""
    sizes = [min(row.params.top_k, logits.shape[1]) for row in rows]
    largest = torch.topk(logits, max(sizes), dim=1).values
    last = torch.tensor(sizes, dtype=torch.int64, device=logits.device)[:, None] - 1
    return _mask(logits, logits < largest.gather(1, last))


def top_p(logits: torch.Tensor, rows: Rows) -> torch.Tensor:
    """Keep the smallest sorted prefix with mass >= p; the token that crosses is kept, the lower id wins a tie."""
    mass = torch.tensor([row.params.top_p for row in rows], dtype=torch.float64, device=logits.device)
    return _mask(logits, ~nucleus(torch.softmax(logits, dim=1), mass))


def min_p(logits: torch.Tensor, rows: Rows) -> torch.Tensor:
    """Mask p < min_p * max p (arXiv 2407.01082); p / max p = exp(l - max l)."""
    floor = _column(logits, [row.params.min_p for row in rows])
    relative = torch.exp(logits - logits.amax(dim=1, keepdim=True))
    return _mask(logits, relative < floor)


def _history(row: SamplerRow) -> TokenHistory:
    assert row.history is not None, "the engine keeps a history for rows with penalties"
    return row.history


def _column(logits: torch.Tensor, values: list[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32, device=logits.device)[:, None]


def _mask(logits: torch.Tensor, drop: torch.Tensor) -> torch.Tensor:
    return logits.masked_fill(drop, float("-inf"))


def uses_history(params: SamplingParams) -> bool:
    """Whether a sequence of this request must keep counts of its tokens."""
    neutral = params.repetition_penalty == 1 and params.frequency_penalty == 0 and params.presence_penalty == 0
    return not neutral and "penalties" in (params.sampler_order or ())


STEPS: dict[str, Step] = {
    "penalties": Step(uses_history, penalties),
    "temperature": Step(lambda p: p.temperature not in (0, 1), temperature),
    "top_k": Step(lambda p: p.top_k > 0, top_k),
    "top_p": Step(lambda p: p.top_p < 1, top_p),
    "min_p": Step(lambda p: p.min_p > 0, min_p),
}
