"""Root mean square norm, alone or after a residual addition. T rows, D features."""

from __future__ import annotations

import torch

from aphrodite_kernels import native
from aphrodite_kernels.case import Case
from aphrodite_kernels.checks import check_float, check_like, describe
from aphrodite_kernels.dispatch import Backend, backend_of


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float, out: torch.Tensor | None = None) -> torch.Tensor:
    """x / sqrt(mean(x^2) + eps), rounded to x's dtype, times weight: the roundings of transformers' LlamaRMSNorm.

    Args:
        x: (T, D) contiguous.
        weight: (D,) in x's dtype.
        out: (T, D) to write into (may be x itself); a new tensor when absent.

    Raises:
        ValueError: a shape, dtype or device does not fit.
    """
    _check(x, weight)
    if out is None:
        out = torch.empty_like(x)
    else:
        check_like("out", out, tuple(x.shape), x)
    chosen = backend_of(x)
    if chosen is Backend.REFERENCE:
        return out.copy_(rms_norm_reference(x, weight, eps))
    (_rms_norm_native if chosen is Backend.NATIVE else _rms_norm_triton)(x, None, weight, eps, out)
    return out


def add_rms_norm(
    x: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor, eps: float, out: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """(rms_norm(x + residual), x + residual); the sum is rounded to the model's dtype and written into `residual`.

    Args:
        x, residual: (T, D) contiguous; residual is overwritten and returned.
        weight: (D,).
        out: (T, D) for the norm (may be x itself); a new tensor when absent.

    Raises:
        ValueError: a shape, dtype or device does not fit.
    """
    _check(x, weight)
    check_like("residual", residual, tuple(x.shape), x)
    if out is None:
        out = torch.empty_like(x)
    else:
        check_like("out", out, tuple(x.shape), x)
    chosen = backend_of(x)
    if chosen is Backend.REFERENCE:
        residual.add_(x)
        return out.copy_(rms_norm_reference(residual, weight, eps)), residual
    (_rms_norm_native if chosen is Backend.NATIVE else _rms_norm_triton)(x, residual, weight, eps, out)
    return out, residual


def rms_norm_reference(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    """The formula, as transformers writes it."""
    wide = x.float()
    scale = torch.rsqrt(wide.square().sum(-1, keepdim=True) / x.shape[1] + eps)
    return weight * (wide * scale).to(x.dtype)


def _check(x: torch.Tensor, weight: torch.Tensor) -> None:
    if x.dim() != 2 or not x.is_contiguous():
        raise ValueError(f"x must be a contiguous (T, D), got {describe(x)} with strides {x.stride()}")
    check_float("x", x)
    check_like("weight", weight, (x.shape[1],), x)


def _rms_norm_native(
    x: torch.Tensor, residual: torch.Tensor | None, weight: torch.Tensor, eps: float, out: torch.Tensor
) -> None:
    rows, width = x.shape
    native.compiled().rms_norm(
        x.data_ptr(), None if residual is None else residual.data_ptr(), weight.data_ptr(), out.data_ptr(),
        native.DTYPE_CODES[x.dtype], rows, width, eps, torch.get_num_threads(),
    )  # fmt: skip


def _rms_norm_triton(
    x: torch.Tensor, residual: torch.Tensor | None, weight: torch.Tensor, eps: float, out: torch.Tensor
) -> None:
    from aphrodite_kernels.gpu import rms_norm as on_gpu

    on_gpu.rms_norm(x, residual, weight, eps, out)


def _case(rows: int, width: int, with_residual: bool) -> Case:
    def make(device: torch.device, dtype: torch.dtype, generator: torch.Generator) -> dict[str, object]:
        x, residual = torch.randn(2, rows, width, generator=generator).to(device, dtype)
        weight = (1 + 0.1 * torch.randn(width, generator=generator)).to(device, dtype)
        inputs: dict[str, object] = {"x": x, "weight": weight, "eps": 1e-5}
        return {**inputs, "residual": residual} if with_residual else inputs

    def run(**inputs: torch.Tensor) -> torch.Tensor:
        return add_rms_norm(**inputs)[0] if with_residual else rms_norm(**inputs)  # type: ignore[arg-type]

    def truth(x: torch.Tensor, weight: torch.Tensor, eps: float, residual: torch.Tensor | None = None) -> torch.Tensor:
        wide = (x if residual is None else x + residual).double().cpu()
        return wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps) * weight.double().cpu()

    name = f"{'add_' if with_residual else ''}T{rows}_D{width}"
    size = rows * width
    # 2e-7: a few float32 roundings; the error of the mean is divided by its length.
    return Case(name, make, run, truth, (16 if with_residual else 8) * size, 4 * size, 2e-7, roundings=2)


CASES = tuple(
    _case(rows, width, with_residual)
    for with_residual in (False, True)
    for rows, width in ((1, 1024), (1, 8), (5, 61), (96, 128), (33, 1024), (3, 2500))
)
LARGE = tuple(_case(rows, width, True) for rows, width in ((1, 1024), (64, 1024), (64, 4096), (4096, 4096)))
