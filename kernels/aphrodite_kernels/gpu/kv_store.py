"""The store into the paged KV cache on a GPU: a program writes one head of one token. T tokens, Hkv heads of D."""

from __future__ import annotations

import torch
import triton.language as tl

from aphrodite_kernels.gpu.launch import kernel, next_power_of_two


def kv_store(
    k: torch.Tensor, v: torch.Tensor, k_cache: torch.Tensor, v_cache: torch.Tensor, slots: torch.Tensor
) -> None:
    """Write the rows whose slot is not -1."""
    tokens, heads, dim = k.shape
    if not tokens:
        return
    _kv_store[(tokens, heads)](
        k, v, k_cache, v_cache, slots, k.stride(0), v.stride(0), heads, dim,
        BLOCK_SIZE=k_cache.shape[3], BLOCK_D=next_power_of_two(dim), num_warps=1,
    )  # fmt: skip


@kernel
def _kv_store(
    k, v, k_cache, v_cache, slots, k_stride, v_stride, heads, dim, BLOCK_SIZE: tl.constexpr, BLOCK_D: tl.constexpr
):
    token, head = tl.program_id(0).to(tl.int64), tl.program_id(1)
    slot = tl.load(slots + token)
    at = tl.arange(0, BLOCK_D)
    stored = (at < dim) & (slot >= 0)
    block = (slot // BLOCK_SIZE * heads + head) * dim * BLOCK_SIZE
    offset = slot % BLOCK_SIZE
    key = tl.load(k + token * k_stride + head * dim + at, stored, other=0.0)
    value = tl.load(v + token * v_stride + head * dim + at, stored, other=0.0)
    tl.store(k_cache + block + at * BLOCK_SIZE + offset, key, stored)
    tl.store(v_cache + block + offset * dim + at, value, stored)
