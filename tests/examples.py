"""How hypothesis looks for examples."""

from __future__ import annotations

from hypothesis import settings


def look_alike_every_time() -> None:
    """The same examples in every run, however long one takes: the first may load a model."""
    settings.register_profile("house", deadline=None, derandomize=True, print_blob=True)
    settings.load_profile("house")
