"""What a result was measured on, and how fast its memory is."""

from __future__ import annotations

import datetime
import os
import shutil
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

ROOT = Path(__file__).parents[2]
_GIB = 1 << 30


def facts() -> dict[str, object]:
    """Device, commit, versions and date, in words that name no machine."""
    return {
        "device": device(),
        "threads": torch.get_num_threads(),
        "commit": _commit(),
        "torch": torch.__version__,
        "triton": _version("triton"),
        "transformers": _version("transformers"),
        "dtype": "float32",
        "date": datetime.date.today().isoformat(),
        "load_average": round(os.getloadavg()[0], 1),
    }


def device() -> str:
    """Such as "2-core AVX512 CPU"."""
    from aphrodite_kernels.threads import physical_cores

    capability = torch.backends.cpu.get_cpu_capability()
    return f"{physical_cores()}-core {capability} CPU"


def copy_bandwidth(num_bytes: int = _GIB, rounds: int = 5) -> float:
    """GB/s of a large copy on all cores, bytes read plus bytes written: the best of some rounds."""
    source, target = torch.ones(num_bytes, dtype=torch.uint8), torch.empty(num_bytes, dtype=torch.uint8)
    target.copy_(source)
    return 2 * num_bytes / min(_seconds(lambda: target.copy_(source)) for _ in range(rounds)) / 1e9


def _seconds(action: object) -> float:
    start = time.perf_counter()
    action()  # type: ignore[operator]
    return time.perf_counter() - start


def _commit() -> str:
    """The short hash; "+" where tracked files differ from it; "unknown" in a copy without git."""
    if shutil.which("git") is None:
        return "unknown"
    git = ["git", "-C", str(ROOT)]
    head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=False)
    return (head.stdout.strip() or "unknown") + ("+" if changed.stdout.strip() else "")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
