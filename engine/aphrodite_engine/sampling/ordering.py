"""Entropies and orders of rows that do not depend on which other rows are there. (R, V) everywhere."""

from __future__ import annotations

import numpy as np
import torch

from aphrodite_engine.sampling.row_sums import log_softmax, row_sum


def entropy(logits: torch.Tensor) -> torch.Tensor:
    """(R, 1) float64, in nats."""
    return entropy_of(log_softmax(logits))


def entropy_of(logprobs: torch.Tensor) -> torch.Tensor:
    """(R, 1) float64, in nats, of rows of log-probabilities; impossible tokens add nothing."""
    # From 0.0: minus a sum of 0 would be -0.
    return 0.0 - row_sum(torch.where(logprobs > float("-inf"), logprobs.exp() * logprobs, 0.0))


def ascending(keys: torch.Tensor) -> torch.Tensor:
    """(R, V) int64: ids by key, the smallest first, of equals the lower id. Keys are float32 of 0 or more."""
    return _sorted_ids(keys, descending=False)


def descending(keys: torch.Tensor) -> torch.Tensor:
    """(R, V) int64: ids by key, the largest first, of equals the lower id. Keys are float32 of 0 or more."""
    return _sorted_ids(keys, descending=True)


def _sorted_ids(keys: torch.Tensor, descending: bool) -> torch.Tensor:
    if keys.device.type != "cpu":
        return torch.sort(keys, dim=1, descending=descending, stable=True).indices
    # The bits of a float of 0 or more order like the number. With the id below them a row is one list of integers,
    # which numpy sorts ten times as fast as torch does (150,000 tokens: 0.9 ms instead of 12).
    bits = (keys + 0.0).numpy().view(np.uint32)
    if descending:
        bits = np.uint32(0xFFFFFFFF) - bits
    packed = bits.astype(np.uint64) << np.uint64(32)
    packed |= np.arange(keys.shape[1], dtype=np.uint64)
    packed.sort(axis=1)
    return torch.from_numpy((packed & np.uint64(0xFFFFFFFF)).astype(np.int64))
