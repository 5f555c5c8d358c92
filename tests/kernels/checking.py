"""How a kernel test judges: a case against its truth, and two tensors bit by bit."""

from __future__ import annotations

import torch

from aphrodite_kernels.case import Case, relative_error

# What one rounding adds at most, relative to the value: half an ulp.
ROUNDING = {torch.float32: 0.0, torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}


def run_case(case: Case, dtype: torch.dtype, generator: torch.Generator) -> None:
    """The case's error against its float64 truth is within its tolerance."""
    inputs = case.make(generator.device, dtype, generator)
    truth = truth_of(case, inputs)
    result = case.run(**inputs)
    assert result.shape == truth.shape
    error = relative_error(result, truth)
    assert error <= case.tolerance + ROUNDING[dtype] * case.roundings, f"{case.name}: {error:.2e}"


def truth_of(case: Case, inputs: dict[str, object]) -> torch.Tensor:
    """In float64 on the CPU, also where new tensors are made on a GPU."""
    with torch.device("cpu"):
        return case.truth(**inputs)


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal to the last bit, signs of zeros and NaNs included."""
    kind = {4: torch.int32, 2: torch.int16, 8: torch.int64}[a.element_size()]
    return a.dtype is b.dtype and torch.equal(a.contiguous().view(kind), b.contiguous().view(kind))
