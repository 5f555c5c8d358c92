"""Mixture-of-experts layers for transformers' experts interface: each expert on its own rows, by packed weights.

The results of a row's experts are added in the order in which the router ranked them, so a row's sum does not depend on
which other rows chose the same expert.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from aphrodite_engine.loading.memory import forget_content
from aphrodite_kernels.matmul import PackedWeight, matmul, pack

EXPERTS = "aphrodite_strict"


@dataclass(frozen=True)
class PackedExperts:
    """The two weights of each expert; kept by the module as `packed_experts`."""

    up: list[PackedWeight]
    down: list[PackedWeight]

    def tensors(self) -> Iterator[torch.Tensor]:
        """Those of all experts."""
        for packed in (*self.up, *self.down):
            yield from packed.tensors()


def is_experts(module: torch.nn.Module) -> bool:
    """Whether transformers runs this module through its experts interface."""
    return hasattr(module, "has_gate") and hasattr(module, "is_transposed") and hasattr(module, "down_proj")


def pack_experts(module: torch.nn.Module) -> None:
    """Pack the weights of one experts module, expert by expert, each original given back as soon as it is packed."""
    up = "gate_up_proj" if module.has_gate else "up_proj"
    packed = PackedExperts(_pack_each(module, up), _pack_each(module, "down_proj"))
    module.packed_experts = packed  # type: ignore[assignment]


class EvenRows(TorchFunctionMode):
    """Context in which every expert of an eager mixture is given equally many rows, the missing ones zeros.

    oneDNN compiles a product in bfloat16 for its number of rows and keeps it: 0.4 MB each, and every expert has its own
    number of rows. Measured on 40 tokens through 16 experts, that was a tenth of a model of 180 MB.
    """

    def __init__(self, num_rows: int) -> None:
        super().__init__()
        self._num_rows = num_rows

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is not F.linear or isinstance(args[1], torch.nn.Parameter):  # an expert's weight is part of a stack
            return func(*args, **(kwargs or {}))
        missing = max(0, self._num_rows - len(args[0]))
        return func(F.pad(args[0], (0, 0, 0, missing)), *args[1:], **(kwargs or {}))[: len(args[0])]


def strict_experts(
    module: torch.nn.Module, hidden: torch.Tensor, chosen: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """transformers' experts function: hidden (T, H), chosen and weights (T, K) -> (T, H)."""
    if hidden.is_meta:
        return torch.empty_like(hidden)
    packed: PackedExperts = module.packed_experts  # type: ignore[assignment]
    parts = hidden.new_empty(*chosen.shape, hidden.shape[1])
    for expert in torch.unique(chosen).tolist():
        row, rank = (chosen == expert).nonzero(as_tuple=True)
        parts[row, rank] = _run(module, hidden[row], packed.up[expert], packed.down[expert])
    total = torch.zeros_like(hidden, dtype=torch.float32)
    for rank in range(chosen.shape[1]):
        total = total + parts[:, rank].float() * weights[:, rank, None].float()
    return total.to(hidden.dtype)


def _run(module: torch.nn.Module, rows: torch.Tensor, up: PackedWeight, down: PackedWeight) -> torch.Tensor:
    inner = _matmul(rows, up)
    inner = module._apply_gate(inner) if module.has_gate else module.act_fn(inner)  # type: ignore[operator]
    out = _matmul(inner.contiguous(), down)
    return module.post_expert_norm(out) if getattr(module, "has_post_expert_norm", False) else out  # type: ignore


def _matmul(rows: torch.Tensor, weight: PackedWeight) -> torch.Tensor:
    # A StrictMode around the model must not look into our own ops.
    with torch._C.DisableTorchFunction():
        return matmul(rows, weight)


def _pack_each(module: torch.nn.Module, name: str) -> list[PackedWeight]:
    weights: torch.nn.Parameter = getattr(module, name)
    biases = getattr(module, f"{name}_bias") if module.has_bias else [None] * len(weights)
    packed = []
    for weight, bias in zip(weights.data, biases, strict=True):
        packed.append(pack((weight.T if module.is_transposed else weight).contiguous(), bias, strict=True))
        forget_content(weight)
    weights.data = weights.data.new_empty(0)
    return packed
