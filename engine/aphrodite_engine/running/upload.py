"""From host lists to tensors on the device, without waiting for it.

torch.tensor(..., device="cuda") waits for all that the device still has to do: the copy starts from pageable memory.
From pinned memory it is one more thing in the queue; torch keeps that memory until the copy is done.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch


def uploaded(values: Sequence[object], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """A list, or a list of equal lists, as a tensor on `device`."""
    if device.type != "cuda":
        return torch.tensor(values, dtype=dtype, device=device)
    return torch.tensor(values, dtype=dtype, pin_memory=True).to(device, non_blocking=True)


def upload_into(target: torch.Tensor, values: Sequence[object]) -> None:
    """Overwrite a tensor with a list of its shape.

    The pinned memory is fresh each time: the host may be a step ahead, and must not change what is still to be copied.
    """
    target.copy_(torch.tensor(values, dtype=target.dtype, pin_memory=target.is_cuda), non_blocking=True)
