"""silu(gate) * up: the activation between the two matmuls of a Llama MLP. T rows, F features."""

from __future__ import annotations

import torch

from aphrodite_kernels import native
from aphrodite_kernels.case import Case
from aphrodite_kernels.checks import check_float, check_like, describe
from aphrodite_kernels.dispatch import Backend, backend_of


def silu_mul(gate_up: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
    """silu(gate) * up of packed rows, computed in float32 and rounded once.

    Args:
        gate_up: (T, 2F), the gate in the first half of each row.
        out: (T, F) to write into; a new tensor when absent.

    Raises:
        ValueError: gate_up is not a contiguous 2-D float tensor of even width, or out does not match it.
    """
    if gate_up.dim() != 2 or gate_up.shape[1] % 2 or not gate_up.is_contiguous():
        raise ValueError(f"gate_up must be a contiguous (T, 2F), got {describe(gate_up)}")
    check_float("gate_up", gate_up)
    rows, width = gate_up.shape
    if out is None:
        out = torch.empty((rows, width // 2), dtype=gate_up.dtype, device=gate_up.device)
    else:
        check_like("out", out, (rows, width // 2), gate_up)
    chosen = backend_of(gate_up)
    if chosen is Backend.REFERENCE:
        return out.copy_(silu_mul_reference(gate_up))
    (_silu_mul_native if chosen is Backend.NATIVE else _silu_mul_triton)(gate_up, out)
    return out


def silu_mul_reference(gate_up: torch.Tensor) -> torch.Tensor:
    """The formula in float32, written with exp so that a value does not depend on its place in a vector."""
    gate, up = gate_up.float().chunk(2, dim=-1)
    return (gate / (1 + torch.exp(-gate)) * up).to(gate_up.dtype)


def _silu_mul_native(gate_up: torch.Tensor, out: torch.Tensor) -> None:
    rows, width = out.shape
    native.compiled().silu_mul(
        gate_up.data_ptr(), out.data_ptr(), native.DTYPE_CODES[out.dtype], rows, width, torch.get_num_threads()
    )


def _silu_mul_triton(gate_up: torch.Tensor, out: torch.Tensor) -> None:
    from aphrodite_kernels.gpu import silu_mul as on_gpu

    on_gpu.silu_mul(gate_up, out)


def _case(rows: int, width: int) -> Case:
    def make(device: torch.device, dtype: torch.dtype, generator: torch.Generator) -> dict[str, object]:
        return {"gate_up": (3 * torch.randn(rows, 2 * width, generator=generator)).to(device, dtype)}

    def truth(gate_up: torch.Tensor) -> torch.Tensor:
        gate, up = gate_up.double().cpu().chunk(2, dim=-1)
        return gate * torch.sigmoid(gate) * up

    # 2e-7: exp within 2 ulp (1.2e-7) and three float32 roundings.
    return Case(f"T{rows}_F{width}", make, silu_mul, truth, 12 * rows * width, 5 * rows * width, 2e-7)


CASES = tuple(_case(rows, width) for rows, width in ((1, 1), (1, 3072), (7, 61), (13, 3072), (64, 1024)))
LARGE = tuple(_case(rows, width) for rows, width in ((1, 3072), (64, 3072), (64, 14336), (4096, 3072)))
