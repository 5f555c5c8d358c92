"""How far a service is with loading, where somebody can see it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class LoadingBar:
    """A bar of the bytes of weights that are read; call it with what /admin/status says.

    It appears when there is something to wait for: a small model has none.
    """

    def __init__(self, *, shown: bool) -> None:
        self._shown, self._bar = shown, None

    def __call__(self, status: Mapping[str, Any]) -> None:
        starting = [model for model in status["models"] if model["state"] == "starting" and model["progress"][1]]
        if starting and self._shown:
            self._show(starting[-1]["id"], *starting[-1]["progress"])

    def _show(self, name: str, done: int, total: int) -> None:
        if self._bar is None:
            from tqdm.auto import tqdm

            self._bar = tqdm(total=total, desc=name, unit="B", unit_scale=True, leave=False)
        self._bar.update(done - self._bar.n)

    def __enter__(self) -> LoadingBar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
