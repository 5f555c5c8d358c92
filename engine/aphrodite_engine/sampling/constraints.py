"""Hard constraints and biases: they come before the request's list of steps and are not part of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from aphrodite_engine.constraints.grammar import GrammarState
from aphrodite_engine.sampling.row import SamplerRow


def is_constrained(row: SamplerRow) -> bool:
    """Whether `constrain` would change this row."""
    params = row.params
    return bool(
        params.logit_bias
        or params.allowed_token_ids is not None
        or row.num_output < params.min_tokens
        or row.grammar is not None
    )


def constrain(logits: torch.Tensor, rows: Sequence[SamplerRow]) -> None:
    """In place: add logit_bias, then make impossible what neither grammar nor allowed ids allow and, before min_tokens,
    what would end."""
    _follow_grammars(logits, rows)
    for line, row in zip(logits, rows, strict=True):
        params = row.params
        if params.logit_bias:
            values = torch.tensor(list(params.logit_bias.values()), dtype=torch.float32, device=line.device)
            line[_ids(params.logit_bias, line)] += values
        followed = line.clone() if row.grammar is not None else None
        if params.allowed_token_ids is not None:
            allowed = _ids(params.allowed_token_ids, line)
            kept = line[allowed].clone()
            line.fill_(float("-inf"))
            line[allowed] = kept
        goes_on = row.num_output < params.min_tokens or (followed is not None and params.ignore_eos)
        if goes_on and row.banned_until_min:
            line[_ids(row.banned_until_min, line)] = float("-inf")
        if followed is not None and not bool((line > float("-inf")).any()):
            _let_it_end(line, followed, row)


def _let_it_end(line: torch.Tensor, followed: torch.Tensor, row: SamplerRow) -> None:
    """Where a grammar can only end, it may, whatever else is asked for."""
    what_ends = _ids(row.banned_until_min, line)
    line[what_ends] = followed[what_ends]


def _follow_grammars(logits: torch.Tensor, rows: Sequence[SamplerRow]) -> None:
    followers = [(r, row.grammar) for r, row in enumerate(rows) if row.grammar is not None]
    if followers:
        places = [r for r, _ in followers]
        possible = _possible([grammar for _, grammar in followers], logits.shape[1], logits.device)
        logits[places] = logits[places].masked_fill(~possible, float("-inf"))


def _possible(grammars: Sequence[GrammarState], vocab_size: int, device: torch.device) -> torch.Tensor:
    """(R, V) bool, from bits that are packed as the grammars give them."""
    packed = np.zeros((len(grammars), max(grammar.num_words for grammar in grammars)), dtype=np.int32)
    for words, grammar in zip(packed, grammars, strict=True):
        grammar.fill(words)
    octets = torch.from_numpy(packed.view(np.uint8)).to(device)
    bits = octets[:, :, None] >> torch.arange(8, dtype=torch.uint8, device=device) & 1
    return bits.flatten(1)[:, :vocab_size].bool()


def _ids(token_ids: Iterable[int], line: torch.Tensor) -> torch.Tensor:
    return torch.tensor(list(token_ids), dtype=torch.int64, device=line.device)
