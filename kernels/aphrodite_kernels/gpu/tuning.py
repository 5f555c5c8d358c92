"""Launch settings measured on a device (tuned/<device>.json, written by `python -m aphrodite_kernels.tune`).

A setting is found by the op and by what of its sizes belongs to the model, never by the number of rows: so a row's
result does not depend on its batch. Where nothing was measured the op's own settings hold.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import torch

FOLDER = Path(__file__).parents[1] / "tuned"
Settings = dict[str, int]
Table = dict[str, dict[str, Settings]]


@dataclass
class Trial:
    """Settings that one op is to use for now, and the sizes it asked for meanwhile."""

    op: str
    settings: Settings
    asked: list[str] = field(default_factory=list)


_TRIAL: ContextVar[Trial | None] = ContextVar("trial", default=None)


@contextmanager
def trying(op: str, settings: Settings) -> Iterator[Trial]:
    """While entered, `op` is launched with these settings."""
    trial = Trial(op, settings)
    token = _TRIAL.set(trial)
    try:
        yield trial
    finally:
        _TRIAL.reset(token)


def tuned(op: str, sizes: str, **default: int) -> Settings:
    """The settings of an op at sizes such as "N1024_K3072": the device's, else `default`.

    Raises:
        ValueError: the device's file names settings that this op does not have.
    """
    trial = _TRIAL.get()
    if trial is not None and trial.op == op:
        trial.asked.append(sizes)
        return trial.settings
    name = device_name()
    found = table_of(name).get(op, {}).get(sizes, default)
    if found is not default and found.keys() != default.keys():
        raise ValueError(f"tuned/{name}.json: {op} {sizes} has {sorted(found)}, not {sorted(default)}")
    return found


@cache
def table_of(name: str) -> Table:
    """What was measured on a device: op -> sizes -> settings; empty where nothing was."""
    file = FOLDER / f"{name}.json"
    return json.loads(file.read_text())["settings"] if file.exists() else {}


def device_name() -> str:
    """Of the current device, such as "nvidia-h100-80gb-hbm3"; "interpreter" where there is no GPU."""
    return _name_of(torch.cuda.current_device()) if _has_gpu() else "interpreter"


@cache
def _has_gpu() -> bool:
    return torch.cuda.is_available()


@cache
def _name_of(index: int) -> str:
    return re.sub(r"[^a-z0-9]+", "-", torch.cuda.get_device_name(index).lower()).strip("-")
