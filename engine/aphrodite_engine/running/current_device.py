"""The device of a thread: Triton launches there, whichever device its tensors are on."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def current(device: torch.device) -> AbstractContextManager[object]:
    """Make it the current one, where there may be several of its kind."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
