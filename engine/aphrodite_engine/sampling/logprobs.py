"""Log-probabilities of a drawn (or given) token and of the most likely ones."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class TopLogprobs:
    """Of one position: the token's own logprob and rank (1 is the most likely), and the most likely (id, logprob)."""

    logprob: float
    rank: int
    top: tuple[tuple[int, float], ...]


def top_logprobs(logits: torch.Tensor, token_ids: list[int], counts: list[int]) -> list[TopLogprobs]:
    """For each row of logits (R, V) float32: logprob (nats) and rank of token_ids[r], and its counts[r] best.

    Impossible tokens (logit -inf) are left out of the best.
    """
    chosen = torch.tensor(token_ids, dtype=torch.int64, device=logits.device)[:, None]
    logprobs = torch.log_softmax(logits, dim=1)
    own = logprobs.gather(1, chosen)
    ranks = (logprobs > own).sum(1) + 1
    best = torch.topk(logprobs, max(counts), dim=1) if max(counts) else None
    rows: list[TopLogprobs] = []
    for r, count in enumerate(counts):
        values = best.values[r, :count].tolist() if best else []
        ids = best.indices[r, :count].tolist() if best else []
        top = tuple((i, v) for i, v in zip(ids, values, strict=True) if v != float("-inf"))
        rows.append(TopLogprobs(float(own[r, 0]), int(ranks[r]), top))
    return rows
