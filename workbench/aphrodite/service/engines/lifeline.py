"""A process that the service has started ends with it, however the service ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_the_service() -> None:
    """To be called first, before anything slow is imported; only the service ends this process from then on."""
    for ours_to_ignore in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # They reach whole groups (Ctrl-C, a closed terminal, a service manager): the service decides, and drains first.
        signal.signal(ours_to_ignore, signal.SIG_IGN)
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died in between
            os._exit(0)
