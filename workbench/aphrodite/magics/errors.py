"""What a person at the keyboard got wrong: one line, no traceback."""

from __future__ import annotations

from IPython.core.error import UsageError

__all__ = ["UsageError"]
