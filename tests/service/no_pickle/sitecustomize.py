"""Found through PYTHONPATH by every Python process of a test: in them, unpickling anything raises and is told.

Python imports a module of this name at its start, before anything else could keep a reference to the real functions.
"""

from __future__ import annotations

import _pickle
import importlib.abc
import importlib.machinery
import os
import pickle
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

NOTES = Path(os.environ["APHRODITE_TEST_NOTES"])


def refuse(*_: Any, **__: Any) -> NoReturn:
    (NOTES / f"unpickled-{os.getpid()}").touch()
    raise RuntimeError("something was unpickled")


class Unpickler:
    """In the place of both real ones, so that subclasses of them refuse as well."""

    __init__ = load = refuse


class TorchLoad(importlib.abc.MetaPathFinder):
    """Replaces torch.load, which brings an unpickler of its own, as soon as its module is there."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != "torch.serialization":
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        assert spec is not None and spec.loader is not None
        execute = spec.loader.exec_module

        def execute_and_replace(module: ModuleType) -> None:
            execute(module)
            module.load = refuse  # type: ignore[attr-defined]
            (NOTES / f"torch-{os.getpid()}").touch()

        spec.loader.exec_module = execute_and_replace  # type: ignore[method-assign]
        return spec


for module in (_pickle, pickle):
    for name in ("load", "loads", "_load", "_loads"):
        if hasattr(module, name):
            setattr(module, name, refuse)
    for name in ("Unpickler", "_Unpickler"):
        if hasattr(module, name):
            setattr(module, name, Unpickler)
sys.meta_path.insert(0, TorchLoad())
(NOTES / f"guarded-{os.getpid()}").touch()
