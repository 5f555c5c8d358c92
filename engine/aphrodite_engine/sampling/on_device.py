"""Draws that stay on the device: nothing is read back, and nothing is asked of tokens that the host may not know yet.

So the next step can be launched before this one's tokens are known. The result is `sample`'s, bit for bit: the same
steps in the same order, the same keys.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch

from aphrodite_engine.params import SamplingParams
from aphrodite_engine.running.upload import uploaded
from aphrodite_engine.sampling.constraints import is_constrained
from aphrodite_engine.sampling.feedback import feedback_of
from aphrodite_engine.sampling.fused import draw_fused, is_fused
from aphrodite_engine.sampling.row import SamplerRow
from aphrodite_engine.sampling.steps import PURPOSE_TOKEN, is_greedy, purpose_of, run_steps, steps_of
from aphrodite_engine.sampling.truncation import streams
from aphrodite_kernels.sample import argmax, gumbel_argmax

#: Steps, and whether the largest logit is taken.
_Way = tuple[tuple[str, ...], bool]


def can_stay_on_device(rows: Sequence[SamplerRow]) -> bool:
    """Whether `draw_on_device` can draw for these rows: only the token is wanted, and it depends on nothing but the
    logits, the request's parameters and the row's place. `token_ids` may lack the last ones."""
    return all(map(_can_stay, rows))


def draw_on_device(logits: torch.Tensor, rows: Sequence[SamplerRow]) -> torch.Tensor:
    """One token a row from logits (R, V) float32: (R,) int64 on their device, NOTHING where none is possible.

    Args:
        rows: of which `can_stay_on_device`.
    """
    groups: defaultdict[_Way | None, list[int]] = defaultdict(list)
    for r, row in enumerate(rows):
        way = None if is_fused(row, logits.device) else (steps_of(row.params), is_greedy(row.params))
        groups[way].append(r)
    if len(groups) == 1:
        (way,) = groups
        return _draw(logits, way, rows)
    tokens = torch.empty(len(rows), dtype=torch.int64, device=logits.device)
    for way, members in groups.items():
        places = uploaded(members, torch.int64, logits.device)
        part = _draw(logits.index_select(0, places), way, [rows[r] for r in members])
        tokens.index_copy_(0, places, part)
    return tokens


def _draw(logits: torch.Tensor, way: _Way | None, rows: Sequence[SamplerRow]) -> torch.Tensor:
    if way is None:
        return draw_fused(logits, rows)
    steps, greedy = way
    for _, _, after in run_steps(steps, logits, rows):
        logits = after
    if greedy:
        return argmax(logits)
    return gumbel_argmax(logits, *streams(logits.device, rows), purpose_of(PURPOSE_TOKEN, rows))


def _can_stay(row: SamplerRow) -> bool:
    return not _is_reported(row.params) and not _knows_its_tokens(row) and not is_constrained(row)


def _is_reported(params: SamplingParams) -> bool:
    return params.logprobs is not None or params.trace is not None


def _knows_its_tokens(row: SamplerRow) -> bool:
    """Whether what it draws depends on what was drawn, or it may have to draw again."""
    params = row.params
    looks_back = row.history is not None or row.suffixes is not None  # memories that the host keeps
    obeys = row.forced is not None or bool(row.bad_words or params.banned_phrases)
    return looks_back or obeys or feedback_of(params) is not None
