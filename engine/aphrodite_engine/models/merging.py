"""Merging tensors of a checkpoint without holding them twice.

transformers stacks the experts of a layer, and joins their gates with their ups, by `torch.stack` and `torch.cat` of
tensors that were read for nothing else. Done as usual, those tensors, their stacks and the joined stacks are in memory
together: of a model with four layers of experts that is a third on top.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from aphrodite_engine.loading.memory import forget_content
from aphrodite_kernels.zeros import lazy_zeros

_BYTES_AT_ONCE = 4 * 2**20


class FrugalMerge(TorchFunctionMode):
    """Context in which tensors given to `spend` are freed, row by row, as a stack or cat of them grows.

    A spent tensor that is used again has no elements left, so its user fails on shapes and not on wrong numbers.
    """

    def __init__(self) -> None:
        super().__init__()
        self._spendable = WeakTensorKeyDictionary()

    def spend(self, tensor: torch.Tensor) -> torch.Tensor:
        """The same tensor, whose content may be taken away by the first merge."""
        self._spendable[tensor] = True
        return tensor

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in (torch.stack, torch.cat) and args and all(tensor in self._spendable for tensor in args[0]):
            return self.spend(_merge(func, *args, **kwargs))
        return func(*args, **kwargs)


def _merge(func: Callable[..., torch.Tensor], tensors: Iterable[torch.Tensor], dim: int = 0) -> torch.Tensor:
    parts = list(tensors)
    shape = func([torch.empty_like(part, device="meta") for part in parts], dim=dim).shape
    merged = lazy_zeros(shape, parts[0].dtype, parts[0].device)
    places = merged.unbind(dim) if func is torch.stack else merged.split([part.shape[dim] for part in parts], dim)
    for place, part in zip(places, parts, strict=True):
        _move(part, place)
    return merged


def _move(source: torch.Tensor, target: torch.Tensor) -> None:
    rows = max(1, _BYTES_AT_ONCE * len(source) // max(1, source.nbytes))
    for start in range(0, len(source), rows):
        part = source[start : start + rows]
        target[start : start + rows].copy_(part)
        forget_content(part)
    source.data = source.new_empty(0)
