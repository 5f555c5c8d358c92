"""The paged KV cache: its layout, its size, and the store of new keys and values.

Layout, owned by this file: keys (num_blocks, Hkv, D, 16), transposed inside a block; values (num_blocks, Hkv, 16, D).
So the scores of 16 positions, and the D elements of an output, are each a row of contiguous numbers, and both loops of
attention multiply a row by one number without ever adding across a vector.
"""

from __future__ import annotations

import torch

from aphrodite_kernels import native
from aphrodite_kernels.case import Case
from aphrodite_kernels.checks import check_heads, check_index, describe
from aphrodite_kernels.dispatch import Backend, backend_of
from aphrodite_kernels.zeros import lazy_zeros

BLOCK_SIZE = 16
MAX_HEAD_DIM = 256


def check_kv_shape(block_size: int, num_kv_heads: int, head_dim: int) -> None:
    """Raise ValueError unless attention can run on such a cache."""
    if block_size != BLOCK_SIZE:
        raise ValueError(f"block_size must be {BLOCK_SIZE}, got {block_size}")
    if num_kv_heads < 1 or head_dim < 8 or head_dim > MAX_HEAD_DIM or head_dim % 8:
        raise ValueError(
            f"num_kv_heads must be positive and head_dim a multiple of 8 up to {MAX_HEAD_DIM}, "
            f"got num_kv_heads={num_kv_heads}, head_dim={head_dim}"
        )


def kv_bytes_per_block(block_size: int, num_kv_heads: int, head_dim: int, dtype: torch.dtype) -> int:
    """Bytes of one block of one layer, keys and values together."""
    check_kv_shape(block_size, num_kv_heads, head_dim)
    return 2 * block_size * num_kv_heads * head_dim * dtype.itemsize


def allocate_kv(
    num_blocks: int,
    block_size: int,
    num_kv_heads: int,
    head_dim: int,
    dtype: torch.dtype,
    device: torch.device | str = "cpu",
) -> tuple[torch.Tensor, torch.Tensor]:
    """(k_cache, v_cache) of one layer, zeros (on the CPU the system hands pages out as they are first written).

    Raises:
        ValueError: a size or dtype that attention does not support.
    """
    check_kv_shape(block_size, num_kv_heads, head_dim)
    if dtype not in native.DTYPE_CODES:
        raise ValueError(f"the KV cache holds float32, bfloat16 or float16, not {dtype}")
    keys = lazy_zeros((num_blocks, num_kv_heads, head_dim, block_size), dtype, device)
    values = lazy_zeros((num_blocks, num_kv_heads, block_size, head_dim), dtype, device)
    return keys, values


def kv_store(
    k: torch.Tensor, v: torch.Tensor, k_cache: torch.Tensor, v_cache: torch.Tensor, slots: torch.Tensor
) -> None:
    """Write new keys and values to their slots.

    Args:
        k, v: (T, Hkv, D) in the cache's dtype; views of a packed row are fine.
        k_cache, v_cache: from `allocate_kv`.
        slots: (T,) int64, block * 16 + offset, below num_blocks * 16 (not checked); -1: do not store this row.

    Raises:
        ValueError: a shape, dtype or device does not fit.
    """
    check_heads("k", k)
    check_heads("v", v)
    check_cache(k_cache, v_cache)
    tokens, heads, dim = k.shape
    if v.shape != k.shape or (heads, dim) != (k_cache.shape[1], k_cache.shape[2]):
        expected = (tokens, *k_cache.shape[1:3])
        raise ValueError(f"k and v must be {expected}, got {describe(k)}, {describe(v)}")
    if k.dtype is not k_cache.dtype or v.dtype is not k_cache.dtype or k.device != k_cache.device:
        raise ValueError(f"k and v must match the cache ({describe(k_cache)}), got {describe(k)}, {describe(v)}")
    check_index("slots", slots, (tokens,), torch.int64, k)
    _IMPLEMENTATIONS[backend_of(k)](k, v, k_cache, v_cache, slots)


def check_cache(k_cache: torch.Tensor, v_cache: torch.Tensor) -> None:
    """Raise ValueError unless the two tensors are what `allocate_kv` makes."""
    shape = k_cache.shape
    if len(shape) != 4 or shape[3] != BLOCK_SIZE or v_cache.shape != (shape[0], shape[1], BLOCK_SIZE, shape[2]):
        raise ValueError(f"not a cache made by allocate_kv: keys {describe(k_cache)}, values {describe(v_cache)}")
    if v_cache.dtype is not k_cache.dtype or not (k_cache.is_contiguous() and v_cache.is_contiguous()):
        raise ValueError(f"not a cache made by allocate_kv: keys {describe(k_cache)}, values {describe(v_cache)}")


def kv_store_reference(
    k: torch.Tensor, v: torch.Tensor, k_cache: torch.Tensor, v_cache: torch.Tensor, slots: torch.Tensor
) -> None:
    """Indexed assignment."""
    wanted = slots >= 0
    block, offset = slots[wanted] // BLOCK_SIZE, slots[wanted] % BLOCK_SIZE
    k_cache[block, :, :, offset] = k[wanted]
    v_cache[block, :, offset] = v[wanted]


def _kv_store_native(
    k: torch.Tensor, v: torch.Tensor, k_cache: torch.Tensor, v_cache: torch.Tensor, slots: torch.Tensor
) -> None:
    tokens, heads, dim = k.shape
    native.compiled().kv_store(
        k.data_ptr(), k.stride(0), v.data_ptr(), v.stride(0), k_cache.data_ptr(), v_cache.data_ptr(), slots.data_ptr(),
        k.element_size(), tokens, heads, dim, torch.get_num_threads(),
    )  # fmt: skip


def _kv_store_triton(
    k: torch.Tensor, v: torch.Tensor, k_cache: torch.Tensor, v_cache: torch.Tensor, slots: torch.Tensor
) -> None:
    from aphrodite_kernels.gpu import kv_store as on_gpu

    on_gpu.kv_store(k, v, k_cache, v_cache, slots)


_IMPLEMENTATIONS = {
    Backend.NATIVE: _kv_store_native,
    Backend.TRITON: _kv_store_triton,
    Backend.REFERENCE: kv_store_reference,
}


def _case(tokens: int, heads: int, dim: int) -> Case:
    blocks = tokens // BLOCK_SIZE + 3

    def make(device: torch.device, dtype: torch.dtype, generator: torch.Generator) -> dict[str, object]:
        qkv = torch.randn(tokens, 3, heads, dim, generator=generator).to(device, dtype)
        slots = torch.randperm(blocks * BLOCK_SIZE, generator=generator)[:tokens]
        slots[tokens // 2] = -1
        both = torch.zeros(2, blocks * heads * BLOCK_SIZE * dim, dtype=dtype, device=device)
        return {"k": qkv[:, 1], "v": qkv[:, 2], "both": both, "slots": slots.to(device)}

    def run(k: torch.Tensor, v: torch.Tensor, both: torch.Tensor, slots: torch.Tensor) -> torch.Tensor:
        k_cache, v_cache = both[0].view(blocks, heads, dim, BLOCK_SIZE), both[1].view(blocks, heads, BLOCK_SIZE, dim)
        kv_store(k, v, k_cache, v_cache, slots)
        return both

    def truth(k: torch.Tensor, v: torch.Tensor, slots: torch.Tensor, **_: torch.Tensor) -> torch.Tensor:
        keys = torch.zeros(blocks, heads, dim, BLOCK_SIZE, dtype=torch.float64)
        values = torch.zeros(blocks, heads, BLOCK_SIZE, dim, dtype=torch.float64)
        for token, slot in enumerate(slots.tolist()):
            if slot >= 0:
                keys[slot // BLOCK_SIZE, :, :, slot % BLOCK_SIZE] = k[token].double().cpu()
                values[slot // BLOCK_SIZE, :, slot % BLOCK_SIZE] = v[token].double().cpu()
        return torch.stack([keys.flatten(), values.flatten()])

    size = tokens * heads * dim
    return Case(f"T{tokens}_H{heads}_D{dim}", make, run, truth, 16 * size, 0, 0.0)  # a copy: exact


CASES = tuple(_case(*sizes) for sizes in ((1, 1, 8), (5, 2, 16), (17, 3, 80), (64, 8, 128)))
LARGE = tuple(_case(tokens, 8, 128) for tokens in (1, 64, 4096))
