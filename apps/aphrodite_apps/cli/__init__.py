"""The `aphrodite` command: one file a sub-command."""

from aphrodite_apps.cli.entry import main

__all__ = ["main"]
