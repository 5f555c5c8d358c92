"""Compiles what the ops launch for a GPU that is not there: types, shapes and memory are checked, nothing is run.

`python -m tests.kernels.compile_for 90 [--thorough]` takes the largest and the last case of every op as bfloat16 (or
every case, as float32, too) and prints a line for each kernel: its shared memory, which tensor core instructions it
has, and whether it copies beside its work or number by number. Triton brings the assembler that it needs.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime.jit import JITFunction

from aphrodite_kernels import attention, dispatch, draw, kv_store, matmul, nucleus, rms_norm, rope, sample
from aphrodite_kernels import silu_mul as silu
from aphrodite_kernels.case import Case
from aphrodite_kernels.dispatch import Backend

OPS = (rms_norm, rope, silu, kv_store, matmul, attention, sample, nucleus, draw)
#: Shared memory that one block may have on compute capability 9.0 (CUDA C++ Programming Guide, technical data).
SHARED_BYTES = 227 * 1024


class PaperDriver:
    """Says that a device is there, so that Triton compiles for it."""

    def __init__(self, capability: int) -> None:
        self.target = GPUTarget("cuda", capability, 32)

    def get_current_target(self) -> GPUTarget:
        return self.target

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


class Compiled:
    """While entered, a launch compiles its kernel and does not run it; `kernels` keeps what came out."""

    def __init__(self, capability: int) -> None:
        self.kernels: dict[str, Any] = {}
        self._driver: Any = PaperDriver(capability)
        self._run: Any = JITFunction.run

    def __enter__(self) -> Compiled:
        triton.runtime.driver.set_active(self._driver)
        kernels, run = self.kernels, self._run

        def compile_only(function: Any, *arguments: Any, grid: Any, warmup: bool, **options: Any) -> None:
            kernel = run(function, *arguments, grid=grid, warmup=True, **options)
            kernels.setdefault(kernel.hash, kernel)

        JITFunction.run = compile_only  # type: ignore[method-assign, assignment]
        return self

    def __exit__(self, *_: object) -> None:
        JITFunction.run = self._run

    def add(self, cases: Sequence[Case], dtype: torch.dtype, few_rows: bool) -> None:
        """Compile what the cases launch, on a device that they fill or leave idle."""
        from aphrodite_kernels.gpu import attention as on_gpu
        from aphrodite_kernels.gpu import matmul as product

        product.fills_device = lambda *_: not few_rows
        on_gpu._is_uneven = lambda *_: few_rows
        generator = torch.Generator().manual_seed(0)
        for case in cases:
            dispatch.backend = lambda _: Backend.REFERENCE  # type: ignore[assignment]
            inputs = case.make(torch.device("cpu"), dtype, generator)
            dispatch.backend = lambda _: Backend.TRITON  # type: ignore[assignment]
            case.run(**inputs)


def main(capability: int, thorough: bool) -> None:
    with Compiled(capability) as made:
        for op in OPS:
            largest = max(op.CASES, key=lambda case: case.moved(torch.float32))
            for dtype in (torch.bfloat16, torch.float32) if thorough else (torch.bfloat16,):
                for few_rows in (False, True):
                    made.add(op.CASES if thorough else [largest, op.CASES[-1]], dtype, few_rows)
    for kernel in made.kernels.values():
        used = [name for name in ("wgmma", "mma.sync", "cp.async", "ld.global.b16") if name in kernel.asm["ptx"]]
        print(kernel.metadata.name, kernel.metadata.shared, *used)
    too_large = [kernel.metadata.name for kernel in made.kernels.values() if kernel.metadata.shared > SHARED_BYTES]
    if too_large:
        raise SystemExit(f"more than {SHARED_BYTES} bytes of shared memory: {', '.join(too_large)}")


if __name__ == "__main__":
    main(int(sys.argv[1]), "--thorough" in sys.argv)
