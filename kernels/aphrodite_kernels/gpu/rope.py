"""Rotary position embedding on a GPU: a program turns one head of one token. T tokens, H heads of D, R of D turned."""

from __future__ import annotations

import torch
import triton.language as tl

from aphrodite_kernels.gpu.launch import EXACT, kernel, next_power_of_two


def rope(
    q: torch.Tensor,
    k: torch.Tensor,
    positions: torch.Tensor,
    cos_sin: torch.Tensor,
    q_norm: torch.Tensor | None,
    k_norm: torch.Tensor | None,
    eps: float,
) -> None:
    """Turn q and k in place, each head normed first where there are norm weights."""
    tokens, heads, dim = q.shape
    if not tokens:
        return
    half = cos_sin.shape[1] // 2
    _rope[(tokens, heads + k.shape[1])](
        q, k, positions, cos_sin, cos_sin if q_norm is None else q_norm, cos_sin if k_norm is None else k_norm, eps,
        q.stride(0), k.stride(0), heads, dim, half,
        HAS_NORM=q_norm is not None, HALF=next_power_of_two(half), REST=next_power_of_two(dim - 2 * half),
        HAS_REST=dim > 2 * half, num_warps=1, **EXACT,
    )  # fmt: skip


@kernel
def _rope(
    q, k, positions, cos_sin, q_norm, k_norm, eps, q_stride, k_stride, q_heads, dim, half,
    HAS_NORM: tl.constexpr, HALF: tl.constexpr, REST: tl.constexpr, HAS_REST: tl.constexpr,
):  # fmt: skip
    token, head = tl.program_id(0).to(tl.int64), tl.program_id(1)
    table = cos_sin + tl.load(positions + token) * 2 * half
    if head < q_heads:
        start = q + token * q_stride + head * dim
        _turn(start, table, q_norm, eps, dim, half, HAS_NORM, HALF, REST, HAS_REST)
    else:
        start = k + token * k_stride + (head - q_heads) * dim
        _turn(start, table, k_norm, eps, dim, half, HAS_NORM, HALF, REST, HAS_REST)


@kernel
def _turn(
    start, table, norm, eps, dim, half,
    HAS_NORM: tl.constexpr, HALF: tl.constexpr, REST: tl.constexpr, HAS_REST: tl.constexpr,
):  # fmt: skip
    at, after = tl.arange(0, HALF), 2 * half + tl.arange(0, REST)
    turned, left = at < half, after < dim
    first = tl.load(start + at, turned, other=0.0).to(tl.float32)
    second = tl.load(start + half + at, turned, other=0.0).to(tl.float32)
    if HAS_NORM:
        squares = tl.sum(first * first + second * second)
        if HAS_REST:
            rest = tl.load(start + after, left, other=0.0).to(tl.float32)
            squares += tl.sum(rest * rest)
        scale = tl.div_rn(1.0, tl.sqrt_rn(tl.div_rn(squares, dim * 1.0) + eps))
        first = first * scale * tl.load(norm + at, turned, other=0.0).to(tl.float32)
        second = second * scale * tl.load(norm + half + at, turned, other=0.0).to(tl.float32)
        if HAS_REST:
            rest = rest * scale * tl.load(norm + after, left, other=0.0).to(tl.float32)
            tl.store(start + after, rest.to(start.dtype.element_ty), left)
    cos = tl.load(table + at, turned, other=0.0)
    sin = tl.load(table + half + at, turned, other=0.0)
    tl.store(start + at, tl.fma(first, cos, -(second * sin)).to(start.dtype.element_ty), turned)
    tl.store(start + half + at, tl.fma(second, cos, first * sin).to(start.dtype.element_ty), turned)
