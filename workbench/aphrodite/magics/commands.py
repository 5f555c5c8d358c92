"""The sub-commands by name; a file each, imported when it is called."""

from __future__ import annotations

from importlib import import_module

from aphrodite.magics.command import Command

_NAMES = (
    *("up", "attach", "connect", "status", "down", "sleep", "wake", "load", "unload", "models"),
    *("generate", "chat", "embed", "tokens", "trace", "next", "branch", "compare", "replay"),
    *("top", "presets", "config", "share", "keys", "ui", "play", "help"),
)


def names() -> list[str]:
    """Every sub-command."""
    return list(_NAMES)


def find(name: str) -> Command:
    """One of them."""
    return import_module(f"aphrodite.magics.{name}").COMMAND
