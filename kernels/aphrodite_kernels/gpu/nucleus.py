"""The nucleus on a GPU: a program a row, which searches the bits of the least probability kept. R rows, V tokens.

The bits of a float from 0 to 1 order like the number. 30 halvings find the largest value so that what is not below it
has the mass; each sums the row in float64, in the same order whatever the batch. Nothing is sorted, nothing is atomic.
"""

from __future__ import annotations

import torch
import triton.language as tl

from aphrodite_kernels.gpu.launch import kernel, next_power_of_two
from aphrodite_kernels.gpu.tuning import tuned


def nucleus(probabilities: torch.Tensor, mass: torch.Tensor, keep: torch.Tensor) -> None:
    """Set keep (R, V) bool."""
    rows, vocab = probabilities.shape
    if rows:
        settings = tuned("nucleus", f"V{vocab}", BLOCK=min(8192, next_power_of_two(vocab)), num_warps=16)
        _nucleus[(rows,)](probabilities, mass, keep.view(torch.uint8), vocab, **settings)


@kernel
def _nucleus(probabilities, mass, keep, vocab, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    line = probabilities + row * vocab
    wanted = tl.maximum(tl.load(mass + row), 1e-300)  # at least one is kept
    low, high = 0, 0x3F800001  # what is not below `low` has the mass, what is not below `high` has not
    if _mass_from(line, 1, vocab, BLOCK) > 0.0:
        low = 1  # nothing impossible is kept, not even where rounding never reaches the mass
        for _ in range(30):
            middle = (low + high) // 2
            enough = _mass_from(line, middle, vocab, BLOCK) >= wanted
            low = tl.where(enough & (high - low > 1), middle, low)
            high = tl.where(enough, high, tl.maximum(middle, low + 1))
    above = _mass_from(line, low + 1, vocab, BLOCK)
    value = (low + tl.zeros((1,), tl.int32)).to(tl.float32, bitcast=True).to(tl.float64)
    step = tl.sum(value, 0)
    ties = _count_of(line, low, vocab, BLOCK)
    kept = tl.minimum(ties, 1) * (above < wanted).to(tl.int32)
    above += step * kept
    while (above < wanted) & (kept < ties) & (low > 0):  # equals are added one by one, as if the row was walked down
        above += step
        kept += 1
    before = 0
    for start in range(0, vocab, BLOCK):
        at = start + tl.arange(0, BLOCK)
        bits = _bits(line, at, vocab)
        tied = (bits == low).to(tl.int32)
        rank = before + tl.cumsum(tied, 0)
        tl.store(keep + row * vocab + at, ((bits > low) | ((tied > 0) & (rank <= kept))).to(tl.uint8), at < vocab)
        before += tl.sum(tied, 0)


@kernel
def _bits(line, at, vocab):
    """The bits as integers; -1 for NaN and what lies beyond the row."""
    bits = tl.load(line + at, at < vocab, other=-1.0).to(tl.int32, bitcast=True)
    return tl.where((bits < 0) | (bits > 0x3F800000), -1, bits)


@kernel
def _mass_from(line, least, vocab, BLOCK: tl.constexpr):
    """The sum of the probabilities whose bits are not below `least`."""
    total = tl.zeros((BLOCK,), tl.float64)
    for start in range(0, vocab, BLOCK):
        bits = _bits(line, start + tl.arange(0, BLOCK), vocab)
        total += tl.where(bits >= least, bits, 0).to(tl.float32, bitcast=True).to(tl.float64)
    return tl.sum(total, 0)


@kernel
def _count_of(line, wanted, vocab, BLOCK: tl.constexpr):
    """How many have exactly these bits."""
    total = tl.zeros((BLOCK,), tl.int32)
    for start in range(0, vocab, BLOCK):
        total += (_bits(line, start + tl.arange(0, BLOCK), vocab) == wanted).to(tl.int32)
    return tl.sum(total, 0)
