"""Log-probabilities of a drawn (or given) token and of the most likely ones, and how undecided the model was."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from aphrodite_engine.sampling.ordering import entropy_of
from aphrodite_engine.sampling.row_sums import log_softmax


@dataclass(frozen=True)
class TopLogprobs:
    """Of one position: the token's own logprob and rank (1 is the most likely), and the most likely (id, logprob).

    Attributes:
        entropy: of the whole distribution, nats.
        raw, processed: of a drawn token, its logprob in the model's distribution and in what it was drawn from.
    """

    logprob: float
    rank: int
    top: tuple[tuple[int, float], ...]
    entropy: float
    raw: float | None = None
    processed: float | None = None


def top_logprobs(logits: torch.Tensor, token_ids: list[int], counts: list[int]) -> list[TopLogprobs]:
    """For each row of logits (R, V) float32: logprob (nats) and rank of token_ids[r], its counts[r] best, entropy.

    Of equal ones the lower ids come first; impossible tokens (logit -inf) are left out of the best.
    """
    chosen = torch.tensor(token_ids, dtype=torch.int64, device=logits.device)[:, None]
    logprobs = log_softmax(logits)
    own = logprobs.gather(1, chosen)
    ranks = (logprobs > own).sum(1) + 1
    largest = torch.topk(logprobs, min(max(counts), logits.shape[1]), dim=1).values
    entropies = entropy_of(logprobs)[:, 0].tolist()
    return [
        TopLogprobs(float(own[r, 0]), int(ranks[r]), _best(logprobs[r], largest[r, :count]), entropies[r])
        for r, count in enumerate(counts)
    ]


def own_logprobs(logits: torch.Tensor, token_ids: list[int]) -> list[float]:
    """The logprob (nats) of token_ids[r] in each row of logits (R, V) float32."""
    chosen = torch.tensor(token_ids, dtype=torch.int64, device=logits.device)[:, None]
    return log_softmax(logits).gather(1, chosen)[:, 0].tolist()


def _best(logprobs: torch.Tensor, largest: torch.Tensor) -> tuple[tuple[int, float], ...]:
    """Ids and values of the `largest` of a row. topk's own ids are no use: which of equals it names depends on k."""
    if not len(largest):
        return ()
    ids = ((logprobs >= largest[-1]) & (logprobs > float("-inf"))).nonzero()[:, 0]
    ids = ids[torch.sort(logprobs[ids], descending=True, stable=True).indices[: len(largest)]]
    return tuple(zip(ids.tolist(), logprobs[ids].tolist(), strict=True))
