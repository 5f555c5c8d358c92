"""What a device could do at best: bytes it copies and floating point operations it multiplies in a second, measured."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from aphrodite_kernels.case import Case

#: A copy is measured on this much, far beyond any cache.
COPIED_BYTES = {"cpu": 256 * 2**20, "cuda": 2**30}
#: Rows and columns of the product that is measured.
PRODUCT_SIZE = {"cpu": 1024, "cuda": 8192}
#: Written between two timed calls on a GPU, so that nothing lies in its second-level cache (50 MB on an H100).
FLUSHED_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Roof:
    """Measured limits of a device.

    Attributes:
        bytes_per_s: of a copy, what is read and what is written together.
        flops_per_s: of torch's product of two large square matrices.
    """

    bytes_per_s: float
    flops_per_s: float

    def seconds(self, case: Case, dtype: torch.dtype) -> float:
        """The least time for a case: its memory moved as a copy is, or its arithmetic done, whichever takes longer."""
        return max(case.moved(dtype) / self.bytes_per_s, case.flops / self.flops_per_s)


def measure(device: torch.device, dtype: torch.dtype, seconds: float = 0.5) -> Roof:
    """The roof of a device for a dtype; takes about twice `seconds`."""
    source = torch.ones(COPIED_BYTES[device.type], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    size = PRODUCT_SIZE[device.type]
    a = torch.ones(size, size, dtype=dtype, device=device)
    copied = median_seconds(lambda: target.copy_(source), device, seconds)
    multiplied = median_seconds(lambda: a @ a, device, seconds)
    return Roof(2 * source.nbytes / copied, 2 * size**3 / multiplied)


def median_seconds(action: Callable[[], object], device: torch.device, seconds: float) -> float:
    """Median time of one call, called for about so long and at least 5 times."""
    action()
    return statistics.median((_cuda_samples if device.type == "cuda" else _cpu_samples)(action, device, seconds))


def _cpu_samples(action: Callable[[], object], device: torch.device, seconds: float) -> list[float]:
    samples: list[float] = []
    until = time.perf_counter() + seconds
    while len(samples) < 5 or time.perf_counter() < until:
        start = time.perf_counter()
        action()
        samples.append(time.perf_counter() - start)
    return samples


def _cuda_samples(action: Callable[[], object], device: torch.device, seconds: float) -> list[float]:
    """By events on the stream. A launch is queued behind the write that empties the cache: it waits for no Python."""
    flush = torch.empty(FLUSHED_BYTES, dtype=torch.uint8, device=device)
    marks: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
    until = time.perf_counter() + seconds
    while len(marks) < 5 or time.perf_counter() < until:
        before, after = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        flush.zero_()
        before.record()
        action()
        after.record()
        marks.append((before, after))
        if len(marks) % 10 == 0:
            torch.cuda.synchronize(device)
    torch.cuda.synchronize(device)
    return [before.elapsed_time(after) / 1e3 for before, after in marks]
