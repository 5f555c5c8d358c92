"""Steps that drop tokens. Logits (R, V) float32 to logits; p is softmax(logits), H its entropy in nats.

Each keeps at least one token. Where a threshold would drop all, those that tie for the most likely stay.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from aphrodite_engine.running.upload import uploaded
from aphrodite_engine.sampling.ordering import ascending, descending, entropy
from aphrodite_engine.sampling.row import SamplerRow
from aphrodite_engine.sampling.row_sums import log_softmax, row_sum, running_sum, softmax
from aphrodite_kernels.nucleus import nucleus
from aphrodite_kernels.sample import philox_uniform

Rows = Sequence[SamplerRow]


def top_k(logits: torch.Tensor, rows: Rows) -> torch.Tensor:
    """Keep the k largest; ties at the k-th are kept."""
    sizes = [min(row.params.top_k, logits.shape[1]) for row in rows]
    largest = torch.topk(logits, max(sizes), dim=1).values
    last = uploaded(sizes, torch.int64, logits.device)[:, None] - 1
    return _mask(logits, logits < largest.gather(1, last))


def top_p(logits: torch.Tensor, rows: Rows) -> torch.Tensor:
    """Keep the smallest sorted prefix with mass >= p; the token that crosses is kept, the lower id wins a tie."""
    mass = uploaded([row.params.top_p for row in rows], torch.float64, logits.device)
    return _mask(logits, ~nucleus(softmax(logits), mass))


def min_p(logits: torch.Tensor, rows: Rows) -> torch.Tensor:
    """Mask p < min_p * max p (arXiv 2407.01082); p / max p = exp(l - max l)."""
    floor = column(logits, [row.params.min_p for row in rows])
    relative = torch.exp(logits - logits.amax(dim=1, keepdim=True))
    return _mask(logits, relative < floor)


def top_a(logits: torch.Tensor, rows: Rows) -> torch.Tensor:
    """Mask p < top_a * (max p)^2."""
    p = softmax(logits)
    floor = column(logits, [row.params.top_a for row in rows]) * p.amax(dim=1, keepdim=True) ** 2
    return _mask_but_best(logits, p < floor)


def top_n_sigma(logits: torch.Tensor, rows: Rows) -> torch.Tensor:
    """Mask l < max l - n * std(l), std over the finite logits (arXiv 2411.07641)."""
    finite = logits > float("-inf")
    count = finite.sum(1, keepdim=True)
    values = torch.where(finite, logits, 0.0).double()
    distance = torch.where(finite, values - row_sum(values) / count, 0.0)
    deviation = (row_sum(distance * distance) / count).sqrt()
    sigmas = uploaded([[row.params.top_n_sigma] for row in rows], torch.float64, logits.device)
    return _mask(logits, logits < logits.amax(dim=1, keepdim=True) - sigmas * deviation)


def tfs(logits: torch.Tensor, rows: Rows) -> torch.Tensor:
    """Tail free sampling. p sorted: d2[i] = |p[i+2] - 2 p[i+1] + p[i]|, normalised; mask j >= 1 if sum d2[:j] > z.

    Equal p have no curvature: nothing is masked.
    """
    if logits.shape[1] < 3:
        return logits
    p = softmax(logits)
    ids = descending(p)
    ordered = p.gather(1, ids).double()
    curvature = running_sum((ordered[:, 2:] - 2 * ordered[:, 1:-1] + ordered[:, :-2]).abs())
    total = curvature[:, -1:]
    limit = uploaded([[row.params.tfs] for row in rows], torch.float64, logits.device)
    tail = torch.zeros_like(p, dtype=torch.bool)
    tail[:, 1:-1] = curvature > limit * total
    tail[:, -1:] = total > 0  # all of the curvature is before the last
    return _mask(logits, torch.zeros_like(tail).scatter(1, ids, tail))


def eta_cutoff(logits: torch.Tensor, rows: Rows) -> torch.Tensor:
    """e' = e * 1e-4; mask p < min(e', sqrt(e') * exp(-H)) (arXiv 2210.15191)."""
    share = uploaded([[row.params.eta_cutoff * 1e-4] for row in rows], torch.float64, logits.device)
    floor = torch.minimum(share, share.sqrt() * torch.exp(-entropy(logits)))
    return _mask_but_best(logits, softmax(logits) < floor)


def epsilon_cutoff(logits: torch.Tensor, rows: Rows) -> torch.Tensor:
    """Mask p < e * 1e-4 (arXiv 2210.15191)."""
    floor = column(logits, [row.params.epsilon_cutoff * 1e-4 for row in rows])
    return _mask_but_best(logits, softmax(logits) < floor)


def typical_p(logits: torch.Tensor, rows: Rows) -> torch.Tensor:
    """Sort by |-ln p - H|; keep the smallest prefix with mass >= typical_p, the crossing token too (2202.00666)."""
    logprobs = log_softmax(logits)
    ids = ascending((-logprobs - entropy(logits)).abs().float())
    ordered = logprobs.exp().gather(1, ids).double()
    mass = uploaded([[row.params.typical_p] for row in rows], torch.float64, logits.device)
    keep = (running_sum(ordered) - ordered < mass) & (ordered > 0)
    keep[:, 0] = True
    return _mask(logits, ~torch.zeros_like(keep).scatter(1, ids, keep))


def xtc(logits: torch.Tensor, rows: Rows, purpose: int) -> torch.Tensor:
    """With probability q: of the tokens with p >= t, if two or more, mask all but the least likely.

    Of equally unlikely ones the highest id stays. The coin is the row's own (text-generation-webui, 6335).
    """
    p = softmax(logits)
    top = (p >= column(logits, [row.params.xtc_threshold for row in rows])) & (logits > float("-inf"))
    least = torch.where(top, p, torch.inf).amin(dim=1, keepdim=True)
    ids = torch.arange(p.shape[1], device=p.device)
    spared = torch.where(top & (p == least), ids, -1).amax(dim=1, keepdim=True)
    excluded = (coins(logits, rows, purpose) < column(logits, [row.params.xtc_probability for row in rows])) & (
        top.sum(1, keepdim=True) >= 2
    )
    return _mask(logits, top & (ids != spared) & excluded)


def coins(logits: torch.Tensor, rows: Rows, purpose: int) -> torch.Tensor:
    """(R, 1) float32 in (0, 1): what each row tosses."""
    return philox_uniform(*streams(logits.device, rows), purpose, 1)


def streams(device: torch.device, rows: Rows) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Seeds, sequence indices and positions of the rows, (R,) int64 each: what keys their random numbers."""
    keys = [(row.seed, row.sequence_index, row.position) for row in rows]
    seeds, sequences, positions = uploaded(keys, torch.int64, device).T.contiguous()
    return seeds, sequences, positions


def column(logits: torch.Tensor, values: list[float]) -> torch.Tensor:
    """(R, 1) float32: a number a row."""
    return uploaded(values, torch.float32, logits.device)[:, None]


def _mask(logits: torch.Tensor, drop: torch.Tensor) -> torch.Tensor:
    return logits.masked_fill(drop, float("-inf"))


def _mask_but_best(logits: torch.Tensor, drop: torch.Tensor) -> torch.Tensor:
    return _mask(logits, drop & (logits < logits.amax(dim=1, keepdim=True)))
