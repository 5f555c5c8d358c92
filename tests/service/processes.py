"""Processes as a test sees them."""

from __future__ import annotations

import contextlib
import os
import signal

import psutil


def alive(pid: int) -> bool:
    """Whether it runs; a zombie does not."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    return False


def children(pid: int) -> list[int]:
    """What it has started and what those have, as long as they run."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return [child.pid for child in psutil.Process(pid).children(recursive=True) if alive(child.pid)]
    return []


def resident(pid: int) -> int:
    """Bytes of memory it holds."""
    return psutil.Process(pid).memory_info().rss


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def stop(pid: int) -> None:
    """SIGSTOP: it is there, and does nothing."""
    os.kill(pid, signal.SIGSTOP)
