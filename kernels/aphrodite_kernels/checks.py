"""Argument checks that several ops share; each raises a ValueError that names what was given."""

from __future__ import annotations

import torch

from aphrodite_kernels.native import DTYPE_CODES


def describe(tensor: torch.Tensor) -> str:
    """Shape, dtype and device in words."""
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')} on {tensor.device}"


def check_float(name: str, tensor: torch.Tensor) -> None:
    """The dtype must be one that the ops compute with."""
    if tensor.dtype not in DTYPE_CODES:
        raise ValueError(f"{name} must be float32, bfloat16 or float16, got {describe(tensor)}")


def check_like(name: str, tensor: torch.Tensor, shape: tuple[int, ...], like: torch.Tensor) -> None:
    """Contiguous, of `shape`, with the dtype and device of `like`."""
    if tensor.shape != shape or tensor.dtype is not like.dtype or tensor.device != like.device:
        raise ValueError(f"{name} must be {shape} {like.dtype} on {like.device}, got {describe(tensor)}")
    if not tensor.is_contiguous():
        raise ValueError(f"{name} must be contiguous, got {describe(tensor)} with strides {tensor.stride()}")


def check_index(
    name: str, tensor: torch.Tensor, shape: tuple[int, ...], dtype: torch.dtype, like: torch.Tensor
) -> None:
    """Contiguous integers of `shape` and `dtype` on the device of `like`."""
    if tensor.shape != shape or tensor.dtype is not dtype or tensor.device != like.device:
        raise ValueError(f"{name} must be {shape} {dtype} on {like.device}, got {describe(tensor)}")
    if not tensor.is_contiguous():
        raise ValueError(f"{name} must be contiguous, got strides {tensor.stride()}")


def check_heads(name: str, tensor: torch.Tensor) -> None:
    """(T, heads, D) whose rows may be strided (a slice of a packed row) but whose heads lie side by side."""
    if tensor.dim() != 3 or tensor.stride(2) != 1 or (tensor.shape[1] > 1 and tensor.stride(1) != tensor.shape[2]):
        raise ValueError(f"{name} must be (T, heads, D) with contiguous rows, got {describe(tensor)} {tensor.stride()}")
    check_float(name, tensor)
