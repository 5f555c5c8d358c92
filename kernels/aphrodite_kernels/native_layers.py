"""All layers of a decoder as one call into the native library (native/decoder_layers.c): its structures, its checks."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import torch

from aphrodite_kernels import native
from aphrodite_kernels.checks import check_index, check_like, describe
from aphrodite_kernels.kv_store import check_cache

if TYPE_CHECKING:
    from aphrodite_kernels.decoder_layers import Caches, LayerShape, LayerWeights, Step


class _CWeight(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("data", "scale", "bias")),
        *((name, ctypes.c_long) for name in ("n", "k")),
    )


class _CLayer(ctypes.Structure):
    _fields_ = (
        *((name, _CWeight) for name in ("qkv", "output", "gate_up", "down")),
        *((name, ctypes.c_void_p) for name in ("q_norm", "k_norm", "post_norm", "next_norm")),
        ("window", ctypes.c_long),
    )


class _CStep(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("positions", "slots", "tables", "query_start", "context", "cos_sin")),
        *((name, ctypes.c_long) for name in ("tokens", "sequences", "table_width")),
        *((name, ctypes.c_long) for name in ("q_heads", "kv_heads", "dim", "rot")),
        *((name, ctypes.c_int) for name in ("dtype", "weight_dtype")),
        *((name, ctypes.c_float) for name in ("scale", "eps")),
    )


class NativeLayers:
    """The call. Its table holds addresses in `layers`, which it keeps alive."""

    def __init__(self, layers: tuple[LayerWeights, ...], shape: LayerShape) -> None:
        self._layers, self._shape = layers, shape
        self._table = (_CLayer * len(layers))(*map(_c_layer, layers))
        packed = layers[0].qkv
        self._dtype, self._weight_dtype = packed.dtype, native.WEIGHT_CODES[packed.stored_dtype]
        self._features = packed.shape[1]
        self._wide = max(max(layer.qkv.shape[0], layer.gate_up.shape[0]) for layer in layers)
        self._narrow = max(max(layer.output.shape[1], layer.down.shape[1]) for layer in layers)

    def __call__(self, hidden: torch.Tensor, residual: torch.Tensor, caches: Caches, step: Step) -> None:
        tokens, shape = len(hidden), self._shape
        self._check(hidden, residual, caches, step)
        work = torch.empty(tokens * (self._wide + self._narrow + self._features), dtype=self._dtype)
        places = (ctypes.c_void_p * (2 * len(caches)))(*[cache.data_ptr() for pair in caches for cache in pair])
        told = _CStep(
            step.positions.data_ptr(), step.slots.data_ptr(), step.block_tables.data_ptr(),
            step.query_start.data_ptr(), step.context_len.data_ptr(), shape.cos_sin.data_ptr(),
            tokens, *step.block_tables.shape, shape.num_heads, shape.num_kv_heads, shape.head_dim,
            shape.cos_sin.shape[1], native.DTYPE_CODES[self._dtype], self._weight_dtype, shape.scale, shape.eps,
        )  # fmt: skip
        failed = native.compiled().decoder_layers(
            ctypes.addressof(self._table), ctypes.addressof(places), len(caches), ctypes.addressof(told),
            hidden.data_ptr(), residual.data_ptr(), work.data_ptr(), self._wide, self._narrow, torch.get_num_threads(),
        )  # fmt: skip
        if failed:
            raise MemoryError(f"no memory for the workspace of a matmul of {tokens} rows")

    def _check(self, hidden: torch.Tensor, residual: torch.Tensor, caches: Caches, step: Step) -> None:
        tokens, (sequences, width) = len(hidden), step.block_tables.shape
        like = self._layers[0].post_norm
        check_like("hidden", hidden, (tokens, self._features), like)
        check_like("residual", residual, (tokens, self._features), like)
        check_index("positions", step.positions, (tokens,), torch.int64, hidden)
        check_index("slots", step.slots, (tokens,), torch.int64, hidden)
        check_index("block_tables", step.block_tables, (sequences, width), torch.int32, hidden)
        check_index("query_start", step.query_start, (sequences + 1,), torch.int32, hidden)
        check_index("context_len", step.context_len, (sequences,), torch.int32, hidden)
        heads = (self._shape.num_kv_heads, self._shape.head_dim)
        for k_cache, v_cache in caches:
            check_cache(k_cache, v_cache)
            if k_cache.shape[1:3] != heads or k_cache.dtype is not self._dtype:
                raise ValueError(f"a cache must have {heads} key-value heads and sizes, got {describe(k_cache)}")


def _c_layer(layer: LayerWeights) -> _CLayer:
    weights = (_CWeight(*weight.addresses, *weight.shape) for weight in
               (layer.qkv, layer.output, layer.gate_up, layer.down))  # fmt: skip
    norms = (layer.q_norm, layer.k_norm, layer.post_norm, layer.next_norm)
    return _CLayer(*weights, *(None if norm is None else norm.data_ptr() for norm in norms), layer.window or 0)
