"""How many files this process may have open: every connection is one."""

from __future__ import annotations

import contextlib
import os
import resource

_WANTED = 65536


def allow_many() -> None:
    """Raise the soft limit as far as the system grants: shells often start programs with 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _WANTED if hard == resource.RLIM_INFINITY else min(hard, _WANTED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):  # macOS grants less than its hard limit says
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def left() -> int:
    """How many more may be opened."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (_WANTED if soft == resource.RLIM_INFINITY else soft) - len(os.listdir("/dev/fd"))
