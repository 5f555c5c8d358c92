"""Rows whose steps are the common ones, in the usual order: where Triton runs, one op does all of them and draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from aphrodite_engine.params import SamplingParams
from aphrodite_engine.sampling.feedback import feedback_of
from aphrodite_engine.sampling.row import SamplerRow
from aphrodite_engine.sampling.steps import PURPOSE_TOKEN, is_greedy, purpose_of, steps_of
from aphrodite_kernels.dispatch import Backend, backend
from aphrodite_kernels.draw import Ask, Turn, draw, table_of

#: The steps it knows, in its order, and the fields that it is told of each.
_KNOWN = {
    "penalties": ("repetition_penalty", "frequency_penalty", "presence_penalty"),
    "temperature": ("temperature",),
    "top_k": ("top_k",),
    "top_p": ("top_p",),
    "min_p": ("min_p",),
}


def ask_of(params: SamplingParams) -> Ask | None:
    """What the op is told of each draw of a request; None where its steps run one by one.

    That is for the request alone to say: the two may split hairs at the edge of a nucleus, so what runs must not
    depend on a row's company or on the step. Nor on what is reported: who asks for a trace gets the same tokens.
    """
    on = steps_of(params)
    if feedback_of(params) is not None or on != tuple(name for name in _KNOWN if name in on):
        return None
    ask = Ask(**{field: getattr(params, field) for name in on for field in _KNOWN[name]})
    return replace(ask, temperature=0.0) if is_greedy(params) else ask


def is_fused(row: SamplerRow, device: torch.device) -> bool:
    """Whether the row is for `draw_fused`, on this device."""
    return row.ask is not None and backend(device.type) is Backend.TRITON


def draw_fused(logits: torch.Tensor, rows: Sequence[SamplerRow]) -> torch.Tensor:
    """One token a row from logits (R, V) float32: (R,) int64 on their device, NOTHING where none is possible."""
    asks = [row.ask for row in rows if row.ask is not None]
    return draw(logits, table_of(asks, [_turn(row) for row in rows], logits.device))


def _turn(row: SamplerRow) -> Turn:
    history = row.history and (row.history.seen, row.history.counts)
    return Turn(row.seed, row.sequence_index, row.position, purpose_of(PURPOSE_TOKEN, (row,)), history)
