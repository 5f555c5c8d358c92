"""Python's collector of reference cycles, in processes that answer others.

A full collection walks every object there is: 25 ms in the service, which is all of its p99, and more where torch is
loaded. What has been made by the time the first request comes stays for good, so it need not be walked again.
"""

from __future__ import annotations

import gc

#: Objects made, less those freed, between two looks at the youngest. Python's own 700 looks 100 times a second.
_YOUNG, _MIDDLE, _OLD = 20_000, 10, 10


def settle() -> None:
    """Call when a process has started: all there is now is kept out of the collector's sight."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
