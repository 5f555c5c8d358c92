"""How many threads are worth starting on this machine."""

from __future__ import annotations

import os
from pathlib import Path


def physical_cores() -> int:
    """Physical cores this process may use: its affinity without hyper-thread siblings, within the cgroup's quota."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    cpus = os.sched_getaffinity(0)
    cores = {_core(cpu) for cpu in cpus}
    return max(1, min(len(cores), _quota(Path("/sys/fs/cgroup/cpu.max")) or len(cores)))


def _core(cpu: int) -> tuple[str, str]:
    """(package, core) of a logical CPU; where the system does not say, each counts as a core of its own."""
    topology = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology")
    package, core = topology / "physical_package_id", topology / "core_id"
    if not core.exists() or not package.exists():
        return "", str(cpu)
    return package.read_text().strip(), core.read_text().strip()


def _quota(file: Path) -> int | None:
    """Whole CPUs of a cgroup's time limit ("max 100000" or "200000 100000"); None: no limit."""
    if not file.exists():
        return None
    limit, period = file.read_text().split()[:2]
    return None if limit == "max" else max(1, int(limit) // int(period))
