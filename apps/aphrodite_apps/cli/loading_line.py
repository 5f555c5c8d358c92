"""One line that says how far a service is with loading, where somebody can see it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from aphrodite_apps.cli import terminal


class LoadingLine:
    """Written over itself on standard error, and only on a terminal; call it with what /admin/status says."""

    def __init__(self) -> None:
        self._shown = ""

    def __call__(self, status: Mapping[str, Any]) -> None:
        starting = [model for model in status["models"] if model["state"] == "starting"]
        if starting:
            self._show(_line(starting[-1]))

    def __enter__(self) -> LoadingLine:
        return self

    def __exit__(self, *_: object) -> None:
        self._show("")

    def _show(self, line: str) -> None:
        if line != self._shown and sys.stderr.isatty():
            padded = line + " " * (len(self._shown) - len(line))
            sys.stderr.write("\r" + terminal.paint(padded, "dim", stream=sys.stderr) + ("" if line else "\r"))
            sys.stderr.flush()
            self._shown = line


def _line(model: Mapping[str, Any]) -> str:
    done, total = model["progress"]
    if not total:
        return f"{model['id']}: starting its engine (a machine's first time compiles the kernels)"
    if done == total:
        return f"{model['id']}: weights loaded, preparing"
    return f"{model['id']}: loading {100 * done // total} % of {terminal.size(total)}"
