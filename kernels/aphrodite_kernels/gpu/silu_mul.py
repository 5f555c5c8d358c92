"""silu(gate) * up on a GPU, with the C kernel's exp. T rows, F features."""

from __future__ import annotations

import torch
import triton.language as tl

from aphrodite_kernels.gpu.functions import exp_f32
from aphrodite_kernels.gpu.launch import EXACT, ceil_div, kernel
from aphrodite_kernels.gpu.tuning import tuned


def silu_mul(gate_up: torch.Tensor, out: torch.Tensor) -> None:
    """(T, 2F) -> (T, F)."""
    rows, width = out.shape
    if not rows or not width:
        return
    settings = tuned("silu_mul", f"F{width}", BLOCK=1024, num_warps=4)
    grid = (rows, ceil_div(width, settings["BLOCK"]))
    _silu_mul[grid](gate_up, out, width, **settings, **EXACT)


@kernel
def _silu_mul(gate_up, out, width, BLOCK: tl.constexpr):
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = at < width
    row = tl.program_id(0).to(tl.int64)
    gate = tl.load(gate_up + row * 2 * width + at, inside, other=0.0).to(tl.float32)
    up = tl.load(gate_up + row * 2 * width + width + at, inside, other=0.0).to(tl.float32)
    gated = tl.div_rn(gate, 1.0 + exp_f32(-gate)) * up
    tl.store(out + row * width + at, gated.to(out.dtype.element_ty), inside)
