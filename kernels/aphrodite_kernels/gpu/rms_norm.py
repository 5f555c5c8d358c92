"""Root mean square norm on a GPU: one program a row, which it holds whole. T rows, D features."""

from __future__ import annotations

import torch
import triton.language as tl

from aphrodite_kernels.gpu.launch import EXACT, kernel, next_power_of_two
from aphrodite_kernels.gpu.tuning import tuned


def rms_norm(
    x: torch.Tensor, residual: torch.Tensor | None, weight: torch.Tensor, eps: float, out: torch.Tensor
) -> None:
    """Write norm(x) * weight to `out`; with a residual the norm of x + residual, which is written back to it."""
    rows, width = x.shape
    if not rows:
        return
    _rms_norm[(rows,)](
        x, x if residual is None else residual, weight, out, width, eps,
        HAS_RESIDUAL=residual is not None, BLOCK=next_power_of_two(width),
        **tuned("rms_norm", f"D{width}", num_warps=min(16, max(1, next_power_of_two(width) // 256))), **EXACT,
    )  # fmt: skip


@kernel
def _rms_norm(x, residual, weight, out, width, eps, HAS_RESIDUAL: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    inside = at < width
    start = tl.program_id(0).to(tl.int64) * width
    row = tl.load(x + start + at, inside, other=0.0).to(tl.float32)
    if HAS_RESIDUAL:
        row += tl.load(residual + start + at, inside, other=0.0).to(tl.float32)
        rounded = row.to(out.dtype.element_ty)
        tl.store(residual + start + at, rounded, inside)
        row = rounded.to(tl.float32)
    mean = tl.div_rn(tl.sum(row * row), width * 1.0)
    normed = (row * tl.div_rn(1.0, tl.sqrt_rn(mean + eps))).to(out.dtype.element_ty)
    scaled = normed.to(tl.float32) * tl.load(weight + at, inside, other=0.0).to(tl.float32)
    tl.store(out + start + at, scaled.to(out.dtype.element_ty), inside)
