"""Zeros that take no memory before they are written."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch


def lazy_zeros(shape: Sequence[int], dtype: torch.dtype, device: torch.device | str = "cpu") -> torch.Tensor:
    """Like torch.zeros, which writes every page at once; numpy's calloc leaves them to the system until first use."""
    if torch.device(device).type != "cpu":
        return torch.zeros(*shape, dtype=dtype, device=device)
    return torch.from_numpy(np.zeros((*shape[:-1], shape[-1] * dtype.itemsize), dtype=np.uint8)).view(dtype)
