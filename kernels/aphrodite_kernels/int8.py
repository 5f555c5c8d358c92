"""Weights held as 8-bit integers, with one scale for each output: a quarter of float32, half of bfloat16.

Only the weights: what is multiplied with them stays as it is, so nothing has to be calibrated. Symmetric, round to
nearest: w = scale * q, q in -127 .. 127, scale = max |w| of the row / 127.
"""

from __future__ import annotations

import torch

from aphrodite_kernels.checks import describe

_LARGEST = 127


def quantize_rows(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Each row of a weight (N, K) as int8 (N, K) and its scale (N,) float32; a row of zeros has scale 0.

    Raises:
        ValueError: not a 2-D float tensor, or a value that is not finite.
    """
    if weight.dim() != 2 or not weight.is_floating_point():
        raise ValueError(f"weight must be (N, K) floats, got {describe(weight)}")
    weight = weight.float()
    scale = weight.abs().amax(dim=1) / _LARGEST
    if not bool(scale.isfinite().all()):
        row = int((~scale.isfinite()).nonzero()[0])
        raise ValueError(f"row {row} of the weight holds a value that is not finite: int8 cannot say it")
    divisor = torch.where(scale > 0, scale, torch.ones_like(scale))
    return (weight / divisor[:, None]).round_().clamp_(-_LARGEST, _LARGEST).to(torch.int8), scale


def dequantize_rows(rows: torch.Tensor, scale: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Rows (T, K) int8 and their scales (T,) as floats of `dtype`."""
    return (rows.float() * scale[:, None]).to(dtype)
