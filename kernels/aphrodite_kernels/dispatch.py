"""Which implementation of an op runs here: decided by declared facts, never by trying and failing.

`APHRODITE_KERNELS` is read once, when an op first asks: `auto` (native for CPU tensors where a C compiler exists, plain
torch elsewhere), `native`, or `reference`. An explicit choice that cannot run raises and says why.
"""

from __future__ import annotations

import os
from enum import Enum
from functools import cache

import torch

from aphrodite_kernels import native


class Backend(Enum):
    """How an op is computed: C on the CPU, or plain torch on any device."""

    NATIVE = "native"
    REFERENCE = "reference"


@cache
def setting() -> str:
    """What `APHRODITE_KERNELS` said when an op first asked.

    Raises:
        ValueError: it is not one of auto, native, reference.
    """
    value = os.environ.get("APHRODITE_KERNELS", "auto")
    if value not in ("auto", "native", "reference"):
        raise ValueError(f"APHRODITE_KERNELS={value!r} is not one of 'auto', 'native', 'reference'")
    return value


@cache
def compiler() -> str | None:
    """The C compiler of this machine, looked for once."""
    return native.find_compiler()


def choose(wanted: str, device_type: str, c_compiler: str | None) -> Backend:
    """The backend for tensors on a device, from what was asked for and what the machine has.

    Raises:
        RuntimeError: `native` was asked for and cannot run.
    """
    able = device_type == "cpu" and c_compiler is not None
    if wanted == "native" and not able:
        reason = (
            f"it runs on CPU tensors only, not on {device_type}"
            if device_type != "cpu"
            else "it needs a C compiler, and none of cc, gcc, clang is on PATH and CC names none (install gcc)"
        )
        raise RuntimeError(f"APHRODITE_KERNELS=native cannot run: {reason}; auto or reference can")
    return Backend.NATIVE if able and wanted != "reference" else Backend.REFERENCE


@cache
def backend(device_type: str) -> Backend:
    """The backend of tensors on a kind of device ("cpu", "cuda").

    Raises:
        ValueError, RuntimeError: see `setting` and `choose`.
    """
    return choose(setting(), device_type, compiler())


def runs_native(tensor: torch.Tensor) -> bool:
    """Whether an op on `tensor` goes to the native library."""
    return backend("cpu" if tensor.is_cpu else tensor.device.type) is Backend.NATIVE
