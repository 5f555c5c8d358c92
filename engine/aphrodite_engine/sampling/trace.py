"""What every stage of sampling did to one row's distribution.

Computed beside the draw, not in it: a row's numbers depend on that row alone, so running the stages again, for the row
by itself, gives the very bits that it was drawn from. Requests that ask for no trace pay nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from aphrodite_engine.sampling.constraints import constrain, is_constrained
from aphrodite_engine.sampling.feedback import FEEDBACK, feedback_of
from aphrodite_engine.sampling.row import SamplerRow
from aphrodite_engine.sampling.row_sums import softmax
from aphrodite_engine.sampling.steps import is_greedy, run_steps, steps_of
from aphrodite_engine.sampling.truncation import coins
from aphrodite_kernels.sample import argmax


@dataclass(frozen=True)
class Stage:
    """A row's distribution behind one stage.

    Attributes:
        name: "model", "constraints", a step's, "mirostat" or "adaptive_p".
        num_possible: tokens that still could be drawn.
        drawn: probability of the token that was drawn in the end.
        top: the most likely tokens, (id, probability); of equals the lower id first.
        coin: what a step tossed, in (0, 1).
    """

    name: str
    num_possible: int
    drawn: float
    top: tuple[tuple[int, float], ...]
    coin: float | None = None


def trace(raw: torch.Tensor, row: SamplerRow, token_id: int, count: int) -> tuple[Stage, ...]:
    """The stages of one row that drew `token_id` from raw logits (1, V), each with its `count` most likely tokens."""
    return tuple(_stage(name, logits, token_id, count, coin) for name, logits, coin in _stages(raw, row))


def _stages(raw: torch.Tensor, row: SamplerRow) -> Iterator[tuple[str, torch.Tensor, float | None]]:
    yield "model", raw, None
    logits = raw.clone()
    if is_constrained(row):
        constrain(logits, [row])
        yield "constraints", logits, None
    for name, purpose, after in run_steps(steps_of(row.params), logits, [row]):
        logits = after
        yield name, logits, None if purpose is None else float(coins(logits, [row], purpose))
    if is_greedy(row.params):
        yield "temperature", _point_mass(logits), None
    elif learner := feedback_of(row.params):
        yield learner, FEEDBACK[learner].apply(softmax(logits), [row]), None


def _stage(name: str, logits: torch.Tensor, token_id: int, count: int, coin: float | None) -> Stage:
    p = softmax(logits)[0]
    largest = torch.topk(p, min(count, len(p))).values
    ids = (p >= largest[-1]).nonzero()[:, 0] if len(largest) else p[:0].long()
    ids = ids[torch.sort(p[ids], descending=True, stable=True).indices[: len(largest)]]
    top = tuple((i, probability) for i, probability in zip(ids.tolist(), p[ids].tolist(), strict=True) if probability)
    return Stage(name, int((logits > float("-inf")).sum()), float(p[token_id]), top, coin)


def _point_mass(logits: torch.Tensor) -> torch.Tensor:
    """Temperature 0: all mass on the largest."""
    point = torch.full_like(logits, float("-inf"))
    return point.index_fill(1, argmax(logits), 0.0)
