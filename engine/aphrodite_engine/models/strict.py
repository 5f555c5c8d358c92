"""Row by row the same: what it takes for transformers' modules to compute a token without regard to its batch.

Two kinds of torch functions give a row other bits in another batch (measured with torch 2.13 on AVX-512 with 1 to 6
threads): matrix products, and those element-wise functions whose vectorised and scalar code differ, because which
elements fall on the scalar tail depends on how the whole tensor is split among threads (silu, sigmoid, softplus, mish,
gelu with tanh). On CUDA it is sums along a row too: how many threads share one depends on how many rows there are
(aten/src/ATen/native/cuda/Reduce.cuh, setReduceConfig); means and sums are replaced there, while no model that was
tested takes a std, var or norm. `StrictMode` runs a replacement for each while the model's forward is under way, and
refuses products it can't replace; loading compares a sequence alone with the same in a batch (`probe`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode
from transformers.pytorch_utils import Conv1D

from aphrodite_engine.errors import UnsupportedModelError
from aphrodite_engine.loading.memory import forget_content
from aphrodite_engine.sampling.row_sums import by_halves
from aphrodite_kernels.matmul import PackedWeight, matmul, pack

_BYTES_AT_ONCE = 2 * 2**20
_DEPENDS = "it computes with {}, whose result for a row depends on the batch; determinism='fast' allows that"


class StrictMode(TorchFunctionMode):
    """Context in which torch functions that mix rows or depend on the place of a row are replaced.

    Weights given to `hold` are kept only in packed form. Other weights of `linear` (routers of experts) are packed when
    first seen; they are small.
    """

    def __init__(self) -> None:
        super().__init__()
        self._packed: dict[torch.nn.Parameter, PackedWeight] = {}

    @classmethod
    def over(cls, model: torch.nn.Module) -> StrictMode:
        """A mode that holds every linear layer of the model."""
        mode = cls()
        layers = [module for module in model.modules() if isinstance(module, torch.nn.Linear | Conv1D)]
        # The largest first: a weight is there twice while it is packed, and freed memory is reused by smaller ones.
        for layer in sorted(layers, key=lambda layer: layer.weight.numel(), reverse=True):
            mode.hold(layer.weight, transposed=isinstance(layer, Conv1D))  # type: ignore[arg-type]
        return mode

    def hold(self, weight: torch.nn.Parameter, transposed: bool = False) -> None:
        """Pack a weight, (out, in) unless transposed, and free its own memory. A tied weight may be given twice."""
        if weight not in self._packed:
            self._packed[weight] = pack(weight.data.T) if transposed else _pack_bit_by_bit(weight.data)
            weight.data = weight.data.new_empty(0)

    def tensors(self) -> Iterator[torch.Tensor]:
        """The packed weights."""
        for packed in self._packed.values():
            yield from packed.tensors()

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _ELEMENTWISE:
            return _ELEMENTWISE[func](*args, **kwargs)
        if func in _SUMS and args and _shares_sums(args[0]):
            return _sum(args[0], func in _MEANS, *args[1:], **kwargs)
        if func is F.linear:
            return self._linear(*args, **kwargs)
        if func is torch.addmm:
            return self._addmm(*args, **kwargs)
        if func is F.embedding and args[1] in self._packed:
            return self._packed[args[1]].rows(args[0].reshape(-1)).view(*args[0].shape, -1)
        if func in _PRODUCTS:
            if not _is_outer_product(func, args):
                raise UnsupportedModelError(_DEPENDS.format(func.__name__))
            return args[0] * args[1]
        return func(*args, **kwargs)

    def _linear(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        if not isinstance(weight, torch.nn.Parameter):
            raise UnsupportedModelError("it multiplies by a weight that it computes, which can't be packed")
        packed = self._packed.get(weight)
        if packed is None:
            packed = self._packed[weight] = pack(weight.data, strict=True)
        out = matmul(x.reshape(-1, x.shape[-1]).contiguous(), packed).view(*x.shape[:-1], -1)
        return out if bias is None else out + bias

    def _addmm(self, bias: torch.Tensor, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """GPT-2's Conv1D: a linear layer with its weight stored (in, out)."""
        packed = self._packed.get(weight) if isinstance(weight, torch.nn.Parameter) else None
        if packed is None:
            raise UnsupportedModelError(_DEPENDS.format("addmm"))
        return matmul(x.contiguous(), packed) + bias


def _pack_bit_by_bit(weight: torch.Tensor) -> PackedWeight:
    """Pack a weight (out, in) whose content is not needed any more: it is never in memory twice."""
    packed = PackedWeight((weight.shape[0], weight.shape[1]), weight.dtype, weight.device)
    rows = max(1, _BYTES_AT_ONCE // (weight.shape[1] * weight.element_size()))
    for start in range(0, weight.shape[0], rows):
        part = weight[start : start + rows]
        packed.write(start, part)
        forget_content(part)
    return packed


def _is_outer_product(func: Callable[..., Any], args: tuple[Any, ...]) -> bool:
    """A product over a length of one (the angles of rotary embeddings) adds nothing up: each element stands alone."""
    matrices = func in _MATMULS and len(args) == 2 and all(isinstance(a, torch.Tensor) and a.dim() > 1 for a in args)
    return matrices and args[0].shape[-1] == 1


def _sigmoid(x: torch.Tensor) -> torch.Tensor:
    return (1.0 / (1.0 + torch.exp(-x.float()))).to(x.dtype)


def _silu(x: torch.Tensor, inplace: bool = False) -> torch.Tensor:
    wide = x.float()
    return (wide / (1.0 + torch.exp(-wide))).to(x.dtype)


def _gelu(x: torch.Tensor, approximate: str = "none") -> torch.Tensor:
    if approximate == "none":
        return F.gelu(x)
    wide = x.float()
    inner = math.sqrt(2.0 / math.pi) * (wide + 0.044715 * wide * wide * wide)
    return (0.5 * wide * (1.0 + torch.tanh(inner))).to(x.dtype)


def _softplus(x: torch.Tensor, beta: float = 1.0, threshold: float = 20.0) -> torch.Tensor:
    wide = x.float() * beta
    smooth = torch.clamp(wide, min=0) + torch.log1p(torch.exp(-wide.abs()))
    return (torch.where(wide > threshold, wide, smooth) / beta).to(x.dtype)


def _mish(x: torch.Tensor, inplace: bool = False) -> torch.Tensor:
    return (x.float() * torch.tanh(_softplus(x.float()))).to(x.dtype)


def _shares_sums(x: torch.Tensor) -> bool:
    """Whether torch lets the number of rows decide in which order it adds one up, and the order counts."""
    return x.is_cuda and x.is_floating_point()


def _sum(
    x: torch.Tensor,
    mean: bool,
    dim: int | tuple[int, ...] | list[int] | None = None,
    keepdim: bool = False,
    *,
    dtype: torch.dtype | None = None,
) -> torch.Tensor:
    """Sum or mean along the last dimension, by adding one half to the other: element by element, so no row matters to
    another. Over other dimensions it is torch's."""
    if dim not in (-1, x.dim() - 1, (-1,), [-1]) or not x.shape[-1]:
        function = torch.mean if mean else torch.sum
        return function(x, dim=dim, keepdim=keepdim, dtype=dtype)  # type: ignore[call-overload,no-any-return]
    out_dtype = dtype or x.dtype
    total = by_halves(x.to(torch.promote_types(out_dtype, torch.float32)))
    total = (total / x.shape[-1] if mean else total).to(out_dtype)
    return total if keepdim else total.squeeze(-1)


_MEANS = frozenset((torch.mean, torch.Tensor.mean))
_SUMS = _MEANS | {torch.sum, torch.Tensor.sum}
_ELEMENTWISE: Mapping[Callable[..., Any], Callable[..., torch.Tensor]] = {
    F.silu: _silu,
    F.gelu: _gelu,
    F.softplus: _softplus,
    F.mish: _mish,
    F.sigmoid: _sigmoid,
    torch.sigmoid: _sigmoid,
    torch.Tensor.sigmoid: _sigmoid,
}
_MATMULS = frozenset(
    (torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__, torch.mm, torch.Tensor.mm, torch.bmm, torch.Tensor.bmm)
)
_PRODUCTS = _MATMULS | {
    torch.einsum, torch.baddbmm, torch.Tensor.baddbmm, torch.tensordot, torch.addbmm, torch.conv1d, F.conv1d,
    F.scaled_dot_product_attention,
}  # fmt: skip
