"""Philox numbers, the largest logit and Gumbel draws on a GPU. R rows, V tokens.

The same words as the C kernel's, and the same logarithm, so a draw from equal logits is the same token on both. A row
is cut into pieces, a program each; the largest of a row is the largest of its pieces, whatever their length.
"""

from __future__ import annotations

import torch
import triton.language as tl

from aphrodite_kernels.gpu.functions import log_f32
from aphrodite_kernels.gpu.launch import EXACT, ceil_div, kernel, next_power_of_two

#: Tokens that one program looks at.
PIECE = 2048
Streams = tuple[torch.Tensor, torch.Tensor, torch.Tensor, int]


def philox_uniform(streams: Streams, out: torch.Tensor) -> None:
    """Fill out (R, n) with the rows' numbers."""
    rows, count = out.shape
    if not rows or not count:
        return
    _philox_uniform[(rows, ceil_div(count, PIECE))](*streams, out, count, GROUPS=PIECE // 4, num_warps=4, **EXACT)


def argmax(logits: torch.Tensor, out: torch.Tensor) -> None:
    """The lowest id of each row's largest logit, -1 where none is above -infinity."""
    _choose(logits, (out, out, out, 0), out, gumbel=False)


def gumbel_argmax(logits: torch.Tensor, streams: Streams, out: torch.Tensor) -> None:
    """The same of logits + Gumbel noise."""
    _choose(logits, streams, out, gumbel=True)


def _choose(logits: torch.Tensor, streams: Streams, out: torch.Tensor, gumbel: bool) -> None:
    rows, vocab = logits.shape
    if not rows:
        return
    pieces = ceil_div(vocab, PIECE)
    best = torch.empty((rows, pieces), dtype=torch.float32, device=logits.device)
    where = torch.empty((rows, pieces), dtype=torch.int32, device=logits.device)
    _best_of_piece[(rows, pieces)](
        logits, *streams, best, where, vocab, pieces, GUMBEL=gumbel, GROUPS=PIECE // 4, num_warps=4, **EXACT
    )
    _best_of_rows[(rows,)](best, where, out, pieces, BLOCK=next_power_of_two(pieces), num_warps=1)


@kernel
def _philox_uniform(seeds, sequence, position, purpose, out, count, GROUPS: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    u = uniforms(seeds, sequence, position, purpose, row, tl.program_id(1) * GROUPS, GROUPS)
    at = tl.program_id(1) * 4 * GROUPS + tl.arange(0, 4 * GROUPS)
    tl.store(out + row * count + at, u, at < count)


@kernel
def _best_of_piece(
    logits, seeds, sequence, position, purpose, best, where, vocab, pieces,
    GUMBEL: tl.constexpr, GROUPS: tl.constexpr,
):  # fmt: skip
    row, piece = tl.program_id(0).to(tl.int64), tl.program_id(1)
    at = piece * 4 * GROUPS + tl.arange(0, 4 * GROUPS)
    value = tl.load(logits + row * vocab + at, at < vocab, other=-float("inf"))
    if GUMBEL:
        u = uniforms(seeds, sequence, position, purpose, row, piece * GROUPS, GROUPS)
        value = value - log_f32(-log_f32(u))
    value = tl.where(value == value, value, -float("inf"))  # NaN is never drawn
    top, index = tl.max(value, 0, return_indices=True)  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]
    tl.store(best + row * pieces + piece, top)
    tl.store(where + row * pieces + piece, piece * 4 * GROUPS + index)


@kernel
def _best_of_rows(best, where, out, pieces, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    best_of_row(best + row * pieces, where + row * pieces, out + row, pieces, BLOCK)


@kernel
def best_of_row(best, where, out, pieces, BLOCK: tl.constexpr):
    """Write one row's token: the lowest id of its pieces' largest value, -1 where that is -infinity."""
    at = tl.arange(0, BLOCK)
    value = tl.load(best + at, at < pieces, other=-float("inf"))
    ids = tl.load(where + at, at < pieces, other=2147483647)
    top = tl.max(value, 0)
    lowest = tl.min(tl.where(value == top, ids, 2147483647), 0)
    tl.store(out, tl.where(top > -float("inf"), lowest, -1).to(tl.int64))


@kernel
def uniforms(seeds, sequence, position, purpose, row, first_group, GROUPS: tl.constexpr):
    """(4 * GROUPS,) numbers: four of each counter from `first_group` on."""
    zeros = tl.zeros((GROUPS,), tl.int64)
    counter = (first_group + tl.arange(0, GROUPS)).to(tl.uint32)
    place, number = (zeros + tl.load(position + row)).to(tl.uint32), (zeros + tl.load(sequence + row)).to(tl.uint32)
    use = (zeros + purpose).to(tl.uint32)
    a, b, c, d = tl.philox(tl.load(seeds + row), counter, place, number, use)
    words = tl.join(tl.join(a, c), tl.join(b, d)).reshape(4 * GROUPS)  # a, b, c, d of each counter
    return ((words >> 9) * 2 + 1).to(tl.float32) * 5.9604644775390625e-08  # 2^-24


@kernel
def uniforms_of(seed, sequence, position, purpose, token_ids):
    """The number of each token: word id % 4 of counter id // 4."""
    zeros = tl.zeros_like(token_ids)
    counter = (token_ids // 4).to(tl.uint32)
    place = (zeros + tl.load(position)).to(tl.uint32)
    number = (zeros + tl.load(sequence)).to(tl.uint32)
    use = (zeros + purpose).to(tl.uint32)
    a, b, c, d = tl.philox(tl.load(seed), counter, place, number, use)
    word = token_ids % 4
    chosen = tl.where(word == 0, a, tl.where(word == 1, b, tl.where(word == 2, c, d)))
    return ((chosen >> 9) * 2 + 1).to(tl.float32) * 5.9604644775390625e-08  # 2^-24
