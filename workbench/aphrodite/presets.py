"""Named sets of sampling parameters in TOML, which store only what differs from neutral.

Names of the built-in ones (`built_in_presets`) are taken; the user's own are files `NAME.toml` in the folder `presets`
of the configuration folder. A comment in the first line says what a preset is for.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aphrodite.argument_parser import nearest
from aphrodite.built_in_presets import BUILT_IN, Preset
from aphrodite_engine.errors import AphroditeError
from aphrodite_engine.params import SamplingParams

__all__ = ["BUILT_IN", "Preset", "PresetError", "Presets", "config_folder", "differences"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
#: TOML has no null; of the fields whose default is another value, only max_tokens knows one.
_NONE, _NULLABLE = "none", "max_tokens"


class PresetError(AphroditeError):
    """No such preset, a name that cannot be one, or a file that is not one."""


def config_folder() -> Path:
    """Where this user's settings are: APHRODITE_CONFIG_DIR, else `aphrodite` in XDG_CONFIG_HOME or ~/.config."""
    if own := os.environ.get("APHRODITE_CONFIG_DIR"):
        return Path(own)
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "aphrodite"


def differences(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Of these sampling fields, those that differ from neutral.

    Raises:
        ParameterError: a field that is unknown or out of range.
    """
    params, neutral = SamplingParams.from_fields(fields), SamplingParams()
    return {name: value for name, value in fields.items() if getattr(params, name) != getattr(neutral, name)}


class Presets:
    """The presets of one folder, and the built-in ones.

    Args:
        folder: None is the user's.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = config_folder() / "presets" if folder is None else folder

    def names(self) -> list[str]:
        """The built-in ones first, then the user's own."""
        found = self.folder.glob("*.toml") if self.folder.is_dir() else ()
        own = sorted(file.stem for file in found if _NAME.fullmatch(file.stem))
        return [*BUILT_IN, *(name for name in own if name not in BUILT_IN)]

    def find(self, name: str) -> Preset:
        """A preset, its fields checked.

        Raises:
            PresetError: no such preset, or a file that is not one.
        """
        if name in BUILT_IN:
            return BUILT_IN[name]
        if not _NAME.fullmatch(name) or not self._file(name).is_file():
            raise _unknown(name, self.names())
        return _read(name, self._file(name))

    def read(self, name: str) -> dict[str, Any]:
        """The sampling fields of a preset, checked.

        Raises:
            PresetError: no such preset, or a file that is not one.
        """
        return dict(self.find(name).fields)

    def all(self) -> list[Preset]:
        """Every preset; of a file that is not one, `why` says what is wrong with it."""
        return [self._listed(name) for name in self.names()]

    def save(self, name: str, fields: Mapping[str, Any], why: str = "") -> Path:
        """Keep what differs from neutral as the user's preset `name`; gives the file.

        Args:
            why: what it is for, in one line.

        Raises:
            PresetError: the name cannot be a file's or is built in, or the file cannot be written.
            ParameterError: a field that is unknown or out of range.
        """
        _check_own(name)
        import tomlkit  # 40 ms that only saving pays

        kept = {key: _written(key, value) for key, value in differences(fields).items()}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            text, file = _comment(why) + tomlkit.dumps(kept), self._file(name)
            partial = file.with_suffix(".partial")
            partial.write_text(text, encoding="utf-8")
            partial.replace(file)
        except (OSError, ValueError) as error:  # ValueError: what TOML has no word for, such as a null in a schema
            raise PresetError(f"preset {name!r} cannot be kept: {error}") from error
        return file

    def delete(self, name: str) -> None:
        """Remove one of the user's presets.

        Raises:
            PresetError: it is built in, or not there.
        """
        _check_own(name)
        try:
            self._file(name).unlink()
        except FileNotFoundError:
            raise _unknown(name, self.names()) from None

    def _listed(self, name: str) -> Preset:
        try:
            return self.find(name)
        except PresetError as error:
            return Preset(name, {}, f"cannot be used: {error}", is_own=True)

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.toml"


def _check_own(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise PresetError(f"preset {name!r}: letters, digits, `_`, `-` and `.` only, at most 64")
    if name in BUILT_IN:
        raise PresetError(f"preset {name!r} is built in; choose another name")


def _unknown(name: str, known: Sequence[str]) -> PresetError:
    return PresetError(f"no such preset {name!r}{nearest(name, known)} (known: {', '.join(known)})")


def _read(name: str, file: Path) -> Preset:
    try:
        text = file.read_text("utf-8")
        fields = {field: _given(field, value) for field, value in tomllib.loads(text).items()}
        SamplingParams.from_fields(fields)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, AphroditeError) as error:
        raise PresetError(f"{file}: {error}") from error
    first = text.partition("\n")[0]
    return Preset(name, fields, first.lstrip("# ").rstrip() if first.startswith("#") else "", is_own=True)


def _comment(why: str) -> str:
    """As the first line; TOML allows no control characters in it."""
    words = " ".join(why.split())
    return f"# {words}\n" if words else ""


def _written(name: str, value: Any) -> Any:
    """As TOML has it: keys are strings, sequences are lists, and there is no null."""
    if value is None and name == _NULLABLE:
        return _NONE
    if isinstance(value, Mapping):
        return {str(key): _written("", item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_written("", item) for item in value]
    return value


def _given(name: str, value: Any) -> Any:
    if name == "logit_bias" and isinstance(value, Mapping):
        return {int(key) if key.isdigit() else key: item for key, item in value.items()}
    return None if name == _NULLABLE and value == _NONE else value
