"""How much memory there is, where it is asked for."""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
from pathlib import Path

import torch

#: Held while a CUDA graph is captured: torch allows one capture at a time in a process, and meanwhile gives no memory
#: back.
CAPTURING = threading.Lock()


def free_bytes(device: torch.device) -> int:
    """Bytes a process may still take on `device` without swapping or being killed."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    available = _meminfo("MemAvailable")
    limit = _cgroup_limit()
    return available if limit is None else min(available, limit)


def total_bytes(device: torch.device) -> int:
    """All memory of `device`."""
    return torch.cuda.mem_get_info(device)[1] if device.type == "cuda" else _meminfo("MemTotal")


def return_to_system(device: torch.device) -> None:
    """Give freed memory back: torch's cached blocks on a GPU and beside it, glibc's arenas on the CPU."""
    gc.collect()
    if device.type == "cuda":
        with CAPTURING:
            torch.cuda.empty_cache()
            torch._C._host_emptyCache()  # pinned memory, which the line above leaves alone
    elif sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # absent from musl
        if trim is not None:
            trim(0)


_PAGE_BYTES = 4096
_MADV_DONTNEED = 4


def forget_content(tensor: torch.Tensor) -> None:
    """Give back the pages of a contiguous tensor on the CPU, whose content is lost; elsewhere nothing happens.

    A tensor can be freed as a whole only; with this it goes part by part, while its copy in another layout grows.
    """
    if sys.platform != "linux" or not tensor.is_cpu or not tensor.is_contiguous():
        return
    first = -(-tensor.data_ptr() // _PAGE_BYTES) * _PAGE_BYTES
    last = (tensor.data_ptr() + tensor.nbytes) // _PAGE_BYTES * _PAGE_BYTES
    if last > first:
        ctypes.CDLL(None).madvise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), _MADV_DONTNEED)


def _meminfo(field: str) -> int:
    file = Path("/proc/meminfo")
    if not file.exists():
        import os

        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for line in file.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    raise RuntimeError(f"/proc/meminfo has no {field}")


def _cgroup_limit() -> int | None:
    """What the container may still take, where one sets a limit (cgroup v2)."""
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if not limit.exists() or not used.exists():
        return None
    text = limit.read_text().strip()
    return None if text == "max" else max(0, int(text) - int(used.read_text()))
