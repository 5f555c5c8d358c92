"""Exact thresholds of a line of floats in memory, found by halving their bits: no sort, nothing atomic.

What is counted or added up has the same order whatever else runs: blocks one after the other, then within a block.
"""

from __future__ import annotations

import triton.language as tl

from aphrodite_kernels.gpu.launch import kernel

# Orderable bits of -infinity and of what lies above infinity.
LOWEST = tl.constexpr(-2139095041)
HIGHEST = tl.constexpr(2139095041)


@kernel
def nth(line, n, length, BLOCK: tl.constexpr):
    """The n-th largest of a line of floats, -infinity where it has fewer."""
    low, high = tl.full((), LOWEST, tl.int64), tl.full((), HIGHEST, tl.int64)
    while high - low > 1:
        middle = (low + high) >> 1
        least, count = float_of(middle), tl.zeros((BLOCK,), tl.int32)
        for start in range(0, length, BLOCK):
            at = start + tl.arange(0, BLOCK)
            count += (tl.load(line + at, at < length, other=-float("inf")) >= least).to(tl.int32)
        enough = tl.sum(count, 0) >= n
        low, high = tl.where(enough, middle, low), tl.where(enough, high, middle)
    return float_of(low)


@kernel
def float_of(key):
    """The float whose bits, ordered like the numbers, are `key`."""
    return tl.where(key >= 0, key, key ^ 0x7FFFFFFF).to(tl.int32).to(tl.float32, bitcast=True)


@kernel
def edge(weights, wanted, length, BLOCK: tl.constexpr):
    """The bits of the least weight kept: the largest so that what is not below it has the mass, at least 1."""
    low, high = 1, 0x3F800001
    while high - low > 1:
        middle = (low + high) // 2
        enough = mass_from(weights, middle, length, BLOCK) >= wanted
        low, high = tl.where(enough, middle, low), tl.where(enough, high, middle)
    return low


@kernel
def mass_from(weights, least, length, BLOCK: tl.constexpr):
    """The sum of the weights whose bits are not below `least`."""
    total = tl.zeros((BLOCK,), tl.float64)
    for start in range(0, length, BLOCK):
        at = start + tl.arange(0, BLOCK)
        weight = tl.load(weights + at, at < length, other=0.0)
        total += tl.where(weight.to(tl.int32, bitcast=True) >= least, weight, 0.0).to(tl.float64)
    return tl.sum(total, 0)
