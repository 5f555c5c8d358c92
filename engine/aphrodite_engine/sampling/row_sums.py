"""Sums along rows that do not depend on how many rows there are, nor on where in memory a row begins.

On the CPU torch's own are so where a running sum is taken. On CUDA none is: how many threads share a row depends on how
many there are (aten/src/ATen/native/cuda: Reduce.cuh, setReduceConfig; ScanUtils.cuh), and softmax deals a row out to
threads by its address (SoftMax.cu, ilpReduce). There rows are added element by element.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

#: Bytes from one place to the next where CUDA's softmax reads a row with wide loads.
_ALIGNED = 16


def row_sum(values: torch.Tensor) -> torch.Tensor:
    """(R, 1) float64 of (R, V). torch's own sum splits a long row between threads, but only where it is alone."""
    return by_halves(values.double()) if values.is_cuda else values.cumsum(1, dtype=torch.float64)[:, -1:]


def running_sum(values: torch.Tensor) -> torch.Tensor:
    """(R, V) float64: sums of the first 1, 2 .. V of each row."""
    return by_doubling(values.double()) if values.is_cuda else values.cumsum(1, dtype=torch.float64)


def softmax(logits: torch.Tensor) -> torch.Tensor:
    """torch.softmax along rows (R, V)."""
    return _aligned(torch.softmax, logits) if logits.is_cuda else torch.softmax(logits, dim=1)


def log_softmax(logits: torch.Tensor) -> torch.Tensor:
    """torch.log_softmax along rows (R, V)."""
    return _aligned(torch.log_softmax, logits) if logits.is_cuda else torch.log_softmax(logits, dim=1)


def by_halves(values: torch.Tensor) -> torch.Tensor:
    """(.., 1): one half of the last dimension added to the other, until one number is left."""
    size = values.shape[-1]
    total = F.pad(values, (0, (1 << max(0, size - 1).bit_length()) - size))
    while total.shape[-1] > 1:
        first, second = total.chunk(2, -1)
        total = first + second
    return total


def by_doubling(values: torch.Tensor) -> torch.Tensor:
    """(R, V): each number gets the one 1, 2, 4 .. places before it (Hillis and Steele 1986)."""
    step = 1
    while step < values.shape[1]:
        values = torch.cat([values[:, :step], values[:, step:] + values[:, :-step]], 1)
        step *= 2
    return values


def _aligned(function: Callable[..., torch.Tensor], logits: torch.Tensor) -> torch.Tensor:
    """Every row begins at a multiple of _ALIGNED bytes, behind it impossible tokens."""
    width = logits.shape[1]
    missing = -width % (_ALIGNED // logits.element_size())
    if not missing:
        return function(logits, dim=1)
    padded = F.pad(logits, (0, missing), value=float("-inf"))
    return function(padded, dim=1)[:, :width].contiguous()
