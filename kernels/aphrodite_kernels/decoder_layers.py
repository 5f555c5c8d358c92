"""The layers of a Llama-style decoder, one after the other: norms, attention over the paged cache and gated MLP.

T tokens of B sequences in one row, Hq and Hkv query and key-value heads of D, H features. On the CPU they are one call
into the native library, which calls the other ops' functions in the same order: the same bits without Python between
two of them. Elsewhere, and where somebody looks between two layers, `decoder_layer` runs them an op at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from aphrodite_kernels.attention import attention
from aphrodite_kernels.case import Case
from aphrodite_kernels.checks import check_like
from aphrodite_kernels.kv_store import BLOCK_SIZE, allocate_kv, kv_store
from aphrodite_kernels.matmul import PackedWeight, matmul, pack
from aphrodite_kernels.native_layers import NativeLayers
from aphrodite_kernels.rms_norm import add_rms_norm
from aphrodite_kernels.rope import rope
from aphrodite_kernels.silu_mul import silu_mul

Caches = Sequence[tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True)
class LayerWeights:
    """One layer's weights.

    Attributes:
        qkv: ((Hq + 2 Hkv) * D, H), output: (H, Hq * D), gate_up: (2F, H), down: (H, F).
        q_norm, k_norm: (D,) of an RMS norm of each head before the rotation, or None.
        post_norm: (H,) between attention and MLP.
        next_norm: (H,) of the norm after the layer: the next one's first, or the model's last.
        window: sliding window in positions, or None.
    """

    qkv: PackedWeight
    output: PackedWeight
    gate_up: PackedWeight
    down: PackedWeight
    q_norm: torch.Tensor | None
    k_norm: torch.Tensor | None
    post_norm: torch.Tensor
    next_norm: torch.Tensor
    window: int | None = None


@dataclass(frozen=True)
class LayerShape:
    """What the layers of a model share. cos_sin: (max_position, R) float32, see rope; eps: of every norm."""

    num_heads: int
    num_kv_heads: int
    head_dim: int
    eps: float
    cos_sin: torch.Tensor

    @property
    def scale(self) -> float:
        """Factor of the attention scores."""
        return self.head_dim**-0.5


class Step(Protocol):
    """Where a step's tokens belong; see the ops rope (positions), kv_store (slots) and attention (the others)."""

    @property
    def positions(self) -> torch.Tensor: ...
    @property
    def slots(self) -> torch.Tensor: ...
    @property
    def block_tables(self) -> torch.Tensor: ...
    @property
    def query_start(self) -> torch.Tensor: ...
    @property
    def context_len(self) -> torch.Tensor: ...


class DecoderLayers:
    """The layers of one model, ready to run.

    Raises:
        ValueError: the weights of a layer do not fit the shape or each other.
    """

    def __init__(self, layers: Sequence[LayerWeights], shape: LayerShape) -> None:
        for index, layer in enumerate(layers):
            _check_weights(index, layer, shape, layers[0])
        self.layers, self.shape = tuple(layers), shape
        self._native = NativeLayers(self.layers, shape) if layers and layers[0].qkv.panel else None

    def __call__(self, hidden: torch.Tensor, residual: torch.Tensor, caches: Caches, step: Step) -> torch.Tensor:
        """Run all layers over one step, whose keys and values are stored in `caches`.

        Args:
            hidden: (T, H), the residual stream behind the first norm. It may be overwritten.
            residual: (T, H), the residual stream; overwritten with what is behind the last layer, before its norm.
            caches: from `allocate_kv`, one pair a layer.
            step: of the T tokens; positions int64 below the length of cos_sin (not checked).

        Returns:
            (T, H), behind the last norm.

        Raises:
            ValueError: a shape, dtype or device does not fit.
        """
        if len(caches) != len(self.layers):
            raise ValueError(f"{len(self.layers)} layers need a cache each, got {len(caches)}")
        if self._native is not None:
            self._native(hidden, residual, caches, step)
            return hidden
        for layer, (k_cache, v_cache) in zip(self.layers, caches, strict=True):
            hidden = decoder_layer(hidden, residual, layer, self.shape, k_cache, v_cache, step)
        return hidden

    def tensors(self) -> Iterator[torch.Tensor]:
        """All that it holds on its device."""
        yield self.shape.cos_sin
        for layer in self.layers:
            for weight in (layer.qkv, layer.output, layer.gate_up, layer.down):
                yield from weight.tensors()
            norms = (layer.q_norm, layer.k_norm, layer.post_norm, layer.next_norm)
            yield from (norm for norm in norms if norm is not None)


def decoder_layer(
    hidden: torch.Tensor,
    residual: torch.Tensor,
    layer: LayerWeights,
    shape: LayerShape,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    step: Step,
) -> torch.Tensor:
    """One layer, an op at a time; `residual` is overwritten. Returns (T, H) behind the layer's last norm."""
    heads = matmul(hidden, layer.qkv).view(len(hidden), -1, shape.head_dim)
    q, k, v = heads.split((shape.num_heads, shape.num_kv_heads, shape.num_kv_heads), dim=1)
    rope(q, k, step.positions, shape.cos_sin, layer.q_norm, layer.k_norm, shape.eps)
    kv_store(k, v, k_cache, v_cache, step.slots)
    attended = attention(
        q, k_cache, v_cache, step.block_tables, step.query_start, step.context_len, shape.scale, layer.window
    )
    hidden, residual = add_rms_norm(matmul(attended, layer.output), residual, layer.post_norm, shape.eps)
    gated = silu_mul(matmul(hidden, layer.gate_up))
    return add_rms_norm(matmul(gated, layer.down), residual, layer.next_norm, shape.eps)[0]


def _check_weights(index: int, layer: LayerWeights, shape: LayerShape, first: LayerWeights) -> None:
    heads, kv_heads = shape.num_heads * shape.head_dim, shape.num_kv_heads * shape.head_dim
    features, inner = first.qkv.shape[1], layer.down.shape[1]
    wanted = {
        "qkv": (heads + 2 * kv_heads, features),
        "output": (features, heads),
        "gate_up": (2 * inner, features),
        "down": (features, inner),
    }
    for name, size in wanted.items():
        weight: PackedWeight = getattr(layer, name)
        if weight.shape != size or weight.dtype is not first.qkv.dtype or weight.device != first.qkv.device:
            wanted_dtype = first.qkv.dtype
            raise ValueError(f"layer {index}: {name} must be {size} {wanted_dtype}, got {weight.shape} {weight.dtype}")
    like = torch.empty(0, dtype=first.qkv.dtype, device=first.qkv.device)
    for name in ("post_norm", "next_norm"):
        check_like(f"layer {index}: {name}", getattr(layer, name), (features,), like)
    if (layer.q_norm is None) is not (layer.k_norm is None):
        raise ValueError(f"layer {index}: q_norm and k_norm must be given together")
    for norm in (layer.q_norm, layer.k_norm):
        if norm is not None:
            check_like(f"layer {index}: q_norm and k_norm", norm, (shape.head_dim,), like)


@dataclass(frozen=True)
class Prompt:
    """A step that is one whole prompt, in the first blocks of a cache."""

    positions: torch.Tensor
    slots: torch.Tensor
    block_tables: torch.Tensor
    query_start: torch.Tensor
    context_len: torch.Tensor


def _prompt(tokens: int, device: torch.device) -> Prompt:
    places, blocks = torch.arange(tokens, device=device), -(-tokens // BLOCK_SIZE)
    table = torch.arange(blocks, dtype=torch.int32, device=device)[None]
    starts = torch.tensor([0, tokens], dtype=torch.int32, device=device)
    return Prompt(places, places, table, starts, torch.zeros(1, dtype=torch.int32, device=device))


def _case(tokens: int, with_norms: bool, with_bias: bool, window: int | None = None) -> Case:
    """Two layers over a prompt: 64 features, 4 query and 2 key-value heads of 16."""
    count, features, inner, (heads, kv_heads, dim) = 2, 64, 96, (4, 2, 16)

    def make(device: torch.device, dtype: torch.dtype, generator: torch.Generator) -> dict[str, object]:
        def normal(*size: int) -> torch.Tensor:
            return torch.randn(*size, generator=generator).to(device)

        def weight(rows: int, columns: int) -> PackedWeight:
            bias = (0.1 * normal(rows)).to(dtype) if with_bias else None
            return pack((normal(rows, columns) * columns**-0.5).to(dtype), bias)

        def norm(size: int) -> torch.Tensor:
            return (1 + 0.1 * normal(size)).to(dtype)

        angle = 6 * torch.rand(97, dim // 2, generator=generator).to(device)
        shape = LayerShape(heads, kv_heads, dim, 1e-5, torch.cat([angle.cos(), angle.sin()], -1))
        layers = [
            LayerWeights(
                weight((heads + 2 * kv_heads) * dim, features), weight(features, heads * dim),
                weight(2 * inner, features), weight(features, inner),
                *((norm(dim), norm(dim)) if with_norms else (None, None)), norm(features), norm(features), window,
            )
            for _ in range(count)
        ]  # fmt: skip
        return {"layers": DecoderLayers(layers, shape), "stream": normal(tokens, features).to(dtype)}

    name = f"T{tokens}{'_norms' if with_norms else ''}{'_bias' if with_bias else ''}{f'_W{window}' if window else ''}"
    size = count * features * ((heads + 2 * kv_heads) * dim + heads * dim + 3 * inner)
    # What the ops of two layers allow, one after the other; a layer rounds to the activations' dtype eight times.
    return Case(name, make, _run, _truth, 4 * size, 2 * tokens * size, 4e-6, roundings=8 * count)


def _run(layers: DecoderLayers, stream: torch.Tensor) -> torch.Tensor:
    shape, dtype, device = layers.shape, stream.dtype, stream.device
    sizes = (BLOCK_SIZE, shape.num_kv_heads, shape.head_dim, dtype, device)
    caches = [allocate_kv(-(-len(stream) // BLOCK_SIZE), *sizes) for _ in layers.layers]
    return layers(stream.clone(), stream.clone(), caches, _prompt(len(stream), device))


def _truth(layers: DecoderLayers, stream: torch.Tensor) -> torch.Tensor:
    """The formulas in float64."""
    shape, hidden = layers.shape, stream.double().cpu()
    residual, places, dim = hidden, torch.arange(len(stream)), shape.head_dim
    cos, sin = shape.cos_sin.double().cpu()[places, None].split(dim // 2, -1)

    def times(x: torch.Tensor, weight: PackedWeight) -> torch.Tensor:
        product = x @ weight.unpack().double().cpu().T
        return product if weight.bias is None else product + weight.bias.double().cpu()

    def normed(x: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
        if weight is None:
            return x
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + shape.eps) * weight.double().cpu()

    def turned(x: torch.Tensor) -> torch.Tensor:
        a, b = x.split(dim // 2, -1)
        return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)

    for layer in layers.layers:
        heads = times(hidden, layer.qkv).view(len(stream), -1, dim)
        q, k, v = heads.split((shape.num_heads, shape.num_kv_heads, shape.num_kv_heads), 1)
        q, k = turned(normed(q, layer.q_norm)), turned(normed(k, layer.k_norm))
        group, behind = shape.num_heads // shape.num_kv_heads, places[:, None] - places
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        unseen = (behind < 0) | (behind >= (layer.window or len(stream)))
        scores = torch.einsum("qhd,khd->hqk", q, k) * shape.scale
        attended = torch.einsum("hqk,khd->qhd", scores.masked_fill(unseen, -torch.inf).softmax(-1), v).flatten(1)
        residual = residual + times(attended, layer.output)
        gate, up = times(normed(residual, layer.post_norm), layer.gate_up).chunk(2, -1)
        residual = residual + times(gate * torch.sigmoid(gate) * up, layer.down)
        hidden = normed(residual, layer.next_norm)
    return hidden


CASES = (_case(1, True, False), _case(7, True, False), _case(37, False, True), _case(67, True, True, window=20))
LARGE: tuple[Case, ...] = ()
