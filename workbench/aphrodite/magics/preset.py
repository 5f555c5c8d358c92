"""Named sets of parameters in TOML, which store only what differs from neutral.

Ours are in this file; the user's own are files `NAME.toml` in the folder `presets` of the configuration folder.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aphrodite.magics.errors import UsageError
from aphrodite_engine.params import SamplingParams, did_you_mean

BUILT_IN: Mapping[str, Mapping[str, Any]] = {
    "neutral": {},
    "greedy": {"temperature": 0.0},
    "precise": {"temperature": 0.3, "top_p": 0.9},
    "balanced": {"temperature": 0.7, "min_p": 0.05},
    "creative": {"temperature": 1.2, "min_p": 0.05, "temperature_last": True},
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def presets_folder() -> Path:
    """Where the user's own presets are."""
    base = os.environ.get("APHRODITE_CONFIG_DIR") or os.environ.get("XDG_CONFIG_HOME")
    root = Path(base) if base else Path.home() / ".config"
    return (root if os.environ.get("APHRODITE_CONFIG_DIR") else root / "aphrodite") / "presets"


def preset_names() -> list[str]:
    """Ours first, then the user's own."""
    folder = presets_folder()
    own = sorted(file.stem for file in folder.glob("*.toml")) if folder.is_dir() else []
    return [*BUILT_IN, *(name for name in own if name not in BUILT_IN)]


def preset(name: str) -> dict[str, Any]:
    """The fields of a preset, checked.

    Raises:
        UsageError: no such preset, or a file that is not one.
    """
    file = presets_folder() / f"{name}.toml"
    if _NAME.fullmatch(name) and file.is_file():
        return _read(file)
    if name not in BUILT_IN:
        raise UsageError(f"preset {name!r}: {did_you_mean(name, preset_names())}")
    return dict(BUILT_IN[name])


def save_preset(name: str, fields: Mapping[str, Any]) -> Path:
    """Write what differs from neutral as the user's preset `name`.

    Raises:
        UsageError: the name cannot be a file's, or is one of ours.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"preset {name!r}: letters, digits, `_`, `-` and `.` only, at most 64")
    if name in BUILT_IN:
        raise UsageError(f"preset {name!r} is built in; choose another name")
    neutral = SamplingParams()
    import tomlkit  # 40 ms that only saving pays

    SamplingParams.from_fields(fields)
    told = {key: _told(value) for key, value in fields.items() if value != getattr(neutral, key)}
    folder = presets_folder()
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.toml"
    file.write_text(tomlkit.dumps(told))
    return file


def _read(file: Path) -> dict[str, Any]:
    try:
        fields = tomllib.loads(file.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: not TOML: {error}") from None
    if "logit_bias" in fields:
        fields["logit_bias"] = {int(key): value for key, value in fields["logit_bias"].items()}
    SamplingParams.from_fields(fields)
    return fields


def _told(value: Any) -> Any:
    """As TOML has it: keys are strings."""
    return {str(key): item for key, item in value.items()} if isinstance(value, Mapping) else value
