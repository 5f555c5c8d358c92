"""What every launch shares."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import triton

from aphrodite_kernels.dispatch import interpreted

#: Compiler options of every kernel whose bits are promised: a multiplication and an addition are fused where the source
#: says so and nowhere else, so that the same formula gives the same bits in two kernels.
EXACT: dict[str, bool] = {"enable_fp_fusion": False}

#: Whether products are computed in float32 whatever the inputs: the interpreter's bfloat16 product is wrong.
WIDEN: bool = interpreted()


def kernel(function: Callable[..., Any]) -> Any:
    """triton.jit, which type checkers take for the Python function that it replaces."""
    return triton.jit(function)


def kernel_for_any(*counts: str) -> Callable[[Callable[..., Any]], Any]:
    """The same, compiled once for all values of these arguments. Of others Triton compiles a 1 and a multiple of 16
    anew, which is right for sizes of a model and wrong for what changes from step to step."""
    return triton.jit(do_not_specialize=list(counts))


def ceil_div(a: int, b: int) -> int:
    """a / b, rounded up."""
    return -(-a // b)


def next_power_of_two(n: int) -> int:
    """The smallest power of two that is not below n, at least 1."""
    return 1 << max(0, n - 1).bit_length()


@cache
def num_processors(device: torch.device) -> int:
    """Streaming multiprocessors of a GPU; 1 for the interpreter."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


@cache
def shared_bytes(device: torch.device) -> int:
    """Shared memory that one program may have; an H100's for the interpreter."""
    if device.type != "cuda":
        return 227 * 1024
    return torch.cuda.get_device_properties(device).shared_memory_per_multiprocessor - 1024  # CUDA keeps 1 KB a block


def fills_device(programs: int, device: torch.device) -> bool:
    """Whether so many programs keep every multiprocessor busy."""
    return programs >= num_processors(device)
