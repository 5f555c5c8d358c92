"""Hard constraints and biases: they come before the request's list of steps and are not part of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from aphrodite_engine.sampling.row import SamplerRow


def is_constrained(row: SamplerRow) -> bool:
    """Whether `constrain` would change this row."""
    params = row.params
    return bool(params.logit_bias or params.allowed_token_ids is not None or row.num_output < params.min_tokens)


def constrain(logits: torch.Tensor, rows: Sequence[SamplerRow]) -> None:
    """In place: add logit_bias, then make impossible what is not allowed and, before min_tokens, what would end."""
    for line, row in zip(logits, rows, strict=True):
        params = row.params
        if params.logit_bias:
            ids = torch.tensor(list(params.logit_bias), dtype=torch.int64, device=logits.device)
            line[ids] += torch.tensor(list(params.logit_bias.values()), dtype=torch.float32, device=logits.device)
        if params.allowed_token_ids is not None:
            allowed = torch.tensor(params.allowed_token_ids, dtype=torch.int64, device=logits.device)
            kept = line[allowed].clone()
            line.fill_(float("-inf"))
            line[allowed] = kept
        if row.num_output < params.min_tokens and row.banned_until_min:
            line[torch.tensor(row.banned_until_min, dtype=torch.int64, device=logits.device)] = float("-inf")
