"""The `aphrodite` command: one file a sub-command."""

from aphrodite_apps.cli.main import main

__all__ = ["main"]
