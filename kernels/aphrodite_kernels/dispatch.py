"""Which implementation of an op runs here: decided by declared facts, never by trying and failing.

`APHRODITE_KERNELS` is read once, when an op first asks: `auto` (Triton for CUDA tensors, C for CPU tensors where a
compiler exists, plain torch elsewhere), `native`, `triton` or `reference`. An explicit choice that cannot run raises
and says why. With `TRITON_INTERPRET=1`, set before Triton is first imported, `triton` runs on CPU tensors, too.
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from enum import Enum
from functools import cache

import torch

from aphrodite_kernels import native

SETTINGS = ("auto", "native", "triton", "reference")


class Backend(Enum):
    """How an op is computed: C on the CPU, Triton on a GPU, or plain torch on any device."""

    NATIVE = "native"
    TRITON = "triton"
    REFERENCE = "reference"


@dataclass(frozen=True)
class Facts:
    """What a machine has.

    Attributes:
        compiler: the C compiler, or None.
        triton: whether the package is installed.
        interpreted: whether Triton interprets its kernels instead of compiling them: then it wants CPU tensors.
    """

    compiler: str | None
    triton: bool
    interpreted: bool


@cache
def setting() -> str:
    """What `APHRODITE_KERNELS` said when an op first asked.

    Raises:
        ValueError: it is not one of SETTINGS.
    """
    value = os.environ.get("APHRODITE_KERNELS", "auto")
    if value not in SETTINGS:
        raise ValueError(f"APHRODITE_KERNELS={value!r} is not one of {', '.join(map(repr, SETTINGS))}")
    return value


@cache
def compiler() -> str | None:
    """The C compiler of this machine, looked for once."""
    return native.find_compiler()


@cache
def facts() -> Facts:
    """What this machine has, looked up once; nothing is imported for it."""
    return Facts(compiler(), importlib.util.find_spec("triton") is not None, interpreted())


def interpreted() -> bool:
    """Whether Triton is told to interpret (it reads this variable when it is first imported)."""
    return os.environ.get("TRITON_INTERPRET", "0") == "1"


def choose(wanted: str, device_type: str, has: Facts) -> Backend:
    """The backend for tensors on a device, from what was asked for and what the machine has.

    Raises:
        RuntimeError: `native` or `triton` was asked for and cannot run.
    """
    if wanted == "reference":
        return Backend.REFERENCE
    if wanted == "auto":
        # The interpreter is for tests: it is asked for by name.
        candidates = (Backend.NATIVE,) if has.interpreted else (Backend.TRITON, Backend.NATIVE)
        return next((b for b in candidates if _obstacle(b, device_type, has) is None), Backend.REFERENCE)
    reason = _obstacle(Backend(wanted), device_type, has)
    if reason is not None:
        raise RuntimeError(f"APHRODITE_KERNELS={wanted} cannot run: {reason}; auto or reference can")
    return Backend(wanted)


def _obstacle(wanted: Backend, device_type: str, has: Facts) -> str | None:
    """Why a backend cannot run on such tensors; None: it can."""
    if wanted is Backend.NATIVE:
        if device_type != "cpu":
            return f"it runs on CPU tensors only, not on {device_type}"
        if has.compiler is None:
            return "it needs a C compiler, and none of cc, gcc, clang is on PATH and CC names none (install gcc)"
        return None
    if not has.triton:
        return "the package triton is not installed (pip install triton, on Linux)"
    if has.interpreted and device_type != "cpu":
        return f"TRITON_INTERPRET=1 is set, and the interpreter runs on CPU tensors, not on {device_type}"
    if not has.interpreted and device_type != "cuda":
        return f"it runs on CUDA tensors, not on {device_type} (TRITON_INTERPRET=1 interprets it there, slowly)"
    return None


@cache
def backend(device_type: str) -> Backend:
    """The backend of tensors on a kind of device ("cpu", "cuda").

    Raises:
        ValueError, RuntimeError: see `setting` and `choose`.
    """
    return choose(setting(), device_type, facts())


def backend_of(tensor: torch.Tensor) -> Backend:
    """The backend of an op on `tensor`."""
    return backend("cpu" if tensor.is_cpu else tensor.device.type)


def runs_native(tensor: torch.Tensor) -> bool:
    """Whether an op on `tensor` goes to the native library."""
    return backend_of(tensor) is Backend.NATIVE
