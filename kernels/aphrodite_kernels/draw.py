"""The fused draw: penalties, temperature, top_k, top_p, min_p and a Gumbel draw, each row as it asks. R rows, V tokens.

One op in place of a dozen, without a sort and without a word from the device. What is off changes nothing. On the CPU
it is the reference: there the steps one by one, each its own C kernel, are as quick.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch

from aphrodite_kernels.case import Case
from aphrodite_kernels.checks import check_index
from aphrodite_kernels.dispatch import Backend, backend_of
from aphrodite_kernels.nucleus import nucleus_reference
from aphrodite_kernels.sample import argmax_reference, check_logits, philox_uniform_reference

#: Columns of a table, in the order in which the kernel expects them: the numbers of an Ask, of which the first six are
#: float64, then those of a Turn, with its history as addresses.
FIELDS = (
    "temperature", "top_p", "min_p", "repetition_penalty", "frequency_penalty", "presence_penalty", "top_k",
    "seed", "sequence", "position", "purpose", "seen", "counts",
)  # fmt: skip
_FLOATS, _NUMBERS, _KEYS = 6, 7, 11


@dataclass(frozen=True)
class Ask:
    """What a request asks for. The defaults are off.

    Attributes:
        temperature: 0 takes the largest logit behind the penalties, whatever else is asked for.
        top_k: keep the k largest, ties kept; 0 is off.
        top_p: then the smallest set with that mass; the token that crosses is kept, the lower id wins a tie; 1 is off.
        min_p: then what is at least so likely beside the most likely; 0 is off.
        repetition_penalty, frequency_penalty, presence_penalty: count only for a Turn with a history.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    top_k: int = 0

    @property
    def drops(self) -> bool:
        """Whether it drops tokens."""
        return self.temperature != 0 and (self.top_k > 0 or self.top_p < 1 or self.min_p > 0)

    @cached_property
    def packed(self) -> np.ndarray:
        """Its columns of a table, (7,) int64."""
        packed = np.array([0] * _FLOATS + [self.top_k], dtype=np.int64)
        packed[:_FLOATS].view(np.float64)[:] = (
            self.temperature, self.top_p, self.min_p,
            self.repetition_penalty, self.frequency_penalty, self.presence_penalty,
        )  # fmt: skip
        return packed


class Turn(NamedTuple):
    """A row's draw: what keys it (see `sample.philox_uniform`), and what the penalties look at.

    Attributes:
        history: (V,) bool, ids in prompt or output, and (V,) float32, how often each is in the output.
    """

    seed: int = 0
    sequence: int = 0
    position: int = 0
    purpose: int = 0
    history: tuple[torch.Tensor, torch.Tensor] | None = None


@dataclass(frozen=True)
class Table:
    """What the rows of a step ask for, on their device.

    Attributes:
        asks, turns: as they were given; they keep alive what the table points to.
        packed: (R, len(FIELDS)) int64.
    """

    asks: Sequence[Ask]
    turns: Sequence[Turn]
    packed: torch.Tensor


def table_of(asks: Sequence[Ask], turns: Sequence[Turn], device: torch.device) -> Table:
    """The rows' asks in one copy, for which the host does not wait."""
    packed = np.zeros((len(asks), len(FIELDS)), dtype=np.int64)
    if asks:
        packed[:, :_NUMBERS] = [ask.packed for ask in asks]
        packed[:, _NUMBERS:_KEYS] = [turn[:4] for turn in turns]
    for row, turn in enumerate(turns):
        if turn.history is not None:
            packed[row, _KEYS:] = [part.data_ptr() for part in turn.history]
    on_host = torch.from_numpy(packed)
    on_host = on_host.pin_memory() if device.type == "cuda" else on_host
    return Table(asks, turns, on_host.to(device, non_blocking=True))


def draw(logits: torch.Tensor, table: Table) -> torch.Tensor:
    """One token a row: (R,) int64, NOTHING (-1) where none is possible.

    The most likely token is never dropped; -infinity and NaN are never drawn; ties go to the lowest id.

    Args:
        logits: (R, V) float32 contiguous; they stay as they are.
        table: of `table_of`, on their device.

    Raises:
        ValueError: a shape, dtype or device does not fit.
    """
    check_logits(logits)
    rows, vocab = logits.shape
    check_index("table", table.packed, (rows, len(FIELDS)), torch.int64, logits)
    for turn in table.turns:
        if turn.history is not None:
            check_index("seen", turn.history[0], (vocab,), torch.bool, logits)
            check_index("counts", turn.history[1], (vocab,), torch.float32, logits)
    if backend_of(logits) is not Backend.TRITON:
        return draw_reference(logits, table.asks, table.turns)
    from aphrodite_kernels.gpu import draw as on_gpu

    out = torch.empty(rows, dtype=torch.int64, device=logits.device)
    on_gpu.draw(logits, table.packed, out, any(ask.drops for ask in table.asks))
    return out


def draw_reference(logits: torch.Tensor, asks: Sequence[Ask], turns: Sequence[Turn]) -> torch.Tensor:
    """Row by row, step by step."""
    tokens = [_draw_row(logits[row : row + 1], *pair) for row, pair in enumerate(zip(asks, turns, strict=True))]
    return torch.cat([torch.empty(0, dtype=torch.int64, device=logits.device), *tokens])


def _draw_row(logits: torch.Tensor, ask: Ask, turn: Turn) -> torch.Tensor:
    if turn.history is not None:
        logits = _penalised(logits, ask, *turn.history)
    if ask.temperature == 0:
        return argmax_reference(logits)
    logits = logits if ask.temperature == 1 else logits / _number(ask.temperature, logits)
    logits = _dropped(torch.where(logits.isnan(), -torch.inf, logits), ask)
    seed, sequence, position = torch.tensor(turn[:3], device=logits.device)[:, None]
    noise = -(-philox_uniform_reference(seed, sequence, position, turn.purpose, logits.shape[1]).log()).log()
    return argmax_reference(logits + noise)


def _penalised(logits: torch.Tensor, ask: Ask, seen: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    repetition = _number(ask.repetition_penalty, logits)
    repeated = torch.where(logits > 0, logits / repetition, logits * repetition)
    logits = torch.where(seen, repeated, logits)
    lower = logits - _number(ask.frequency_penalty, logits) * counts - _number(ask.presence_penalty, logits)
    return torch.where(counts > 0, lower, logits)


def _dropped(logits: torch.Tensor, ask: Ask) -> torch.Tensor:
    if ask.top_k > 0:
        least = torch.topk(logits, min(ask.top_k, logits.shape[1])).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if ask.top_p < 1:
        mass = torch.tensor([ask.top_p], dtype=torch.float64, device=logits.device)
        logits = logits.masked_fill(~nucleus_reference(torch.softmax(logits, 1), mass), -torch.inf)
    if ask.min_p > 0:
        relative = torch.exp(logits - logits.amax(1, keepdim=True))
        logits = logits.masked_fill(relative < _number(ask.min_p, logits), -torch.inf)
    return logits


def _number(value: float, logits: torch.Tensor) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float32, device=logits.device)


def _case(rows: int, vocab: int, spread: float, ask: Ask) -> Case:
    def make(device: torch.device, dtype: torch.dtype, generator: torch.Generator) -> dict[str, object]:
        logits = (spread * torch.randn(rows, vocab, generator=generator)).to(device)
        turns: list[Turn] = []
        for row in range(rows):
            counts = (torch.rand(vocab, generator=generator) < 0.3).float().to(device)
            history = (counts > 0, counts) if ask.repetition_penalty != 1 else None
            turns.append(Turn(2**40 + row, row, 7 * row, 0, history))
        return {"logits": logits, "table": table_of([ask] * rows, turns, device)}

    def truth(logits: torch.Tensor, table: Table) -> torch.Tensor:
        return draw_reference(logits, table.asks, table.turns)

    asked = {field.name: getattr(ask, field.name) for field in fields(ask) if getattr(ask, field.name) != field.default}
    words = "_".join(f"{name.replace('_', '')}{value:g}" for name, value in asked.items()) or "plain"
    name = f"R{rows}_V{vocab}_s{spread:g}_{words}"
    # Of a row that drops tokens every logit is read once, of one that does not it gets noise, too.
    return Case(name, make, draw, truth, 0, 60 * rows * vocab, 0.0, fixed_bytes=4 * rows * vocab)


_USUAL = Ask(temperature=0.6, top_k=20, top_p=0.95)
_PENALISED = Ask(temperature=0.8, repetition_penalty=1.2, presence_penalty=0.5, min_p=0.1)
CASES = (
    _case(1, 1, 1, Ask()),
    _case(3, 61, 3, Ask(temperature=0.7)),
    _case(2, 64, 3, Ask(temperature=0)),
    _case(5, 2048, 3, _USUAL),
    _case(3, 4099, 2, Ask(top_p=0.9, min_p=0.01)),
    _case(4, 9001, 3, _PENALISED),
)
LARGE = (
    *(_case(rows, 151936, 3, ask) for ask in (Ask(), _USUAL) for rows in (1, 32, 256)),
    *(
        _case(32, 151936, 3, ask)
        for ask in (Ask(temperature=0), _PENALISED, Ask(min_p=0.05), Ask(temperature=0.5, top_p=0.9), Ask(top_p=0.9))
    ),
)
