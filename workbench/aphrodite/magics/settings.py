"""Settings of the magics, each with where it came from: `%config`, environment, pyproject.toml, default."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from aphrodite.display.shade import SHADES, Shade, checked
from aphrodite.magics.errors import UsageError

#: name -> (default, what it means)
KNOWN: dict[str, tuple[str, str]] = {
    "url": ("", "address of the service; empty is the one that runs on this machine"),
    "model": ("", "model that cells mean; empty is the only one that is served"),
    "preset": ("neutral", "preset that cells start from"),
    "port": ("2242", "port of the service on this machine"),
    "display": ("rich", "rich (live), plain (text only) or static (one final output)"),
    "shade": ("probability", "what tokens are shaded by: probability, entropy or none"),
}
_DISPLAYS = ("rich", "plain", "static")


@dataclass(frozen=True)
class Setting:
    """A value and where it came from."""

    value: str
    source: str


class Settings:
    """Looks a setting up where it may be, nearest first.

    Args:
        config: the traits of AphroditeMagics; an empty one is not set.
        folder: where to look for pyproject.toml, upwards.
    """

    def __init__(self, config: Any, folder: Path | None = None) -> None:
        self._config = config
        self._folder = folder or Path.cwd()

    @property
    def url(self) -> str | None:
        return self.find("url").value or None

    @property
    def model(self) -> str:
        return self.find("model").value

    @property
    def preset(self) -> str:
        return self.find("preset").value

    @property
    def port(self) -> int:
        """
        Raises:
            UsageError: not a port.
        """
        found = self.find("port")
        if not found.value.isdecimal() or int(found.value) > 65535:
            raise UsageError(f"port={found.value!r} ({found.source}): a number from 0 to 65535")
        return int(found.value)

    @property
    def display(self) -> str:
        """
        Raises:
            UsageError: none of rich, plain, static.
        """
        return self._one_of("display", _DISPLAYS)

    @property
    def shade(self) -> Shade:
        """
        Raises:
            UsageError: none of probability, entropy, none.
        """
        return checked(self._one_of("shade", SHADES))

    def _one_of(self, name: str, allowed: Sequence[str]) -> str:
        found = self.find(name)
        if found.value not in allowed:
            raise UsageError(f"{name}={found.value!r} ({found.source}): one of {', '.join(allowed)}")
        return found.value

    def find(self, name: str) -> Setting:
        """A setting with its source."""
        default, _ = KNOWN[name]
        if value := getattr(self._config, name, ""):
            return Setting(value, "%config AphroditeMagics")
        variable = f"APHRODITE_{name.upper()}"
        if value := os.environ.get(variable, ""):
            return Setting(value, f"environment, {variable}")
        if (value := self._project.get(name)) is not None:
            return Setting(str(value), "pyproject.toml, [tool.aphrodite]")
        return Setting(default, "default")

    @cached_property
    def _project(self) -> dict[str, Any]:
        for folder in (self._folder, *self._folder.parents):
            file = folder / "pyproject.toml"
            if file.is_file():
                try:
                    return tomllib.loads(file.read_text()).get("tool", {}).get("aphrodite", {})
                except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
                    raise UsageError(f"{file}: {error}") from None
        return {}
