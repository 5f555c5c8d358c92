"""A case: one size of one op, written once beside the op and read by tests, benchmarks and the tuner.

An op's CASES are small and odd, for tests; its LARGE ones are what a model asks for, for benchmarks and the tuner.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Case:
    """One size of one op.

    Attributes:
        name: sizes in words, unique within the op.
        make: (device, dtype, generator) -> keyword arguments; the generator is a CPU one, so values are repeatable.
        run: the public op on those arguments; returns a tensor (for an op in place: what it wrote).
        truth: the same in float64 on the CPU, from the formula.
        bytes: memory that must be moved at least of what has the dtype asked for, at 4 bytes an element.
        flops: floating point operations.
        tolerance: relative root mean square error allowed in float32; half types add their own rounding.
        roundings: how often a result is rounded to the activations' dtype.
        fixed_bytes: memory that must be moved of what has a dtype of its own, such as logits and int8 weights.
    """

    name: str
    make: Callable[[torch.device, torch.dtype, torch.Generator], dict[str, object]]
    run: Callable[..., torch.Tensor]
    truth: Callable[..., torch.Tensor]
    bytes: int
    flops: int
    tolerance: float
    roundings: int = 1
    fixed_bytes: int = 0

    def moved(self, dtype: torch.dtype) -> float:
        """Bytes that must be moved at least where activations are of this dtype."""
        return self.bytes * dtype.itemsize / 4 + self.fixed_bytes


def relative_error(result: torch.Tensor, truth: torch.Tensor) -> float:
    """Root mean square of the difference over that of the truth."""
    difference = result.double().cpu() - truth.double().cpu()
    return float(difference.square().mean().sqrt() / truth.double().cpu().square().mean().sqrt().clamp_min(1e-30))
