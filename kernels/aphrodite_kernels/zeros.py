"""Zeros that take no memory before they are written, and give all of it back when they are freed."""

from __future__ import annotations

import math
import mmap
from collections.abc import Sequence

import torch

_MAPPED_BYTES = 2**20
_HUGE_BYTES = 4 * 2**20


def lazy_zeros(shape: Sequence[int], dtype: torch.dtype, device: torch.device | str = "cpu") -> torch.Tensor:
    """Like torch.zeros, which writes every page at once.

    A large tensor is a mapping of its own. From the heap it would take a place that was used before, whose pages are
    there already and have to be cleared; and freed in the heap's middle it would stay with the process.

    Raises:
        MemoryError: the system gives no such range of addresses.
    """
    nbytes = math.prod(shape) * dtype.itemsize
    if torch.device(device).type != "cpu" or nbytes < _MAPPED_BYTES or not hasattr(mmap, "MAP_ANONYMOUS"):
        return torch.zeros(*shape, dtype=dtype, device=device)
    try:
        memory = mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError(f"no memory for {nbytes:,} bytes of zeros") from error
    if nbytes >= _HUGE_BYTES and hasattr(mmap, "MADV_HUGEPAGE"):  # fewer page faults, and faster to walk through
        memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=dtype).view(*shape)
