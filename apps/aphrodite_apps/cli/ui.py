"""`aphrodite ui`: the playground in a browser."""

from __future__ import annotations

import argparse

from aphrodite_apps.cli import terminal
from aphrodite_apps.cli.command import Command
from aphrodite_apps.cli.service_client import add_port_flag

EPILOG = """examples:
  aphrodite ui                 print the playground's address and open it
  aphrodite ui --no-browser    print it only, as on a machine without a screen"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_port_flag(parser)
    parser.add_argument("--no-browser", action="store_true", help="print the address only")


def run(arguments: argparse.Namespace) -> int:
    from aphrodite.addresses import browser_address
    from aphrodite.service.daemon import attach

    connection = attach(arguments.port)
    address = browser_address(connection.port, scheme=connection.url.partition("://")[0])
    print(f"{terminal.paint('The playground', 'bold')} is at {address}")
    if not arguments.no_browser and not _opened(address):
        print(terminal.paint("  open it in a browser; there is none on this machine", "dim"))
    return 0


def _opened(address: str) -> bool:
    """Whether a browser of this machine's own window system shows it: one in the terminal would take the terminal."""
    import os
    import sys
    import webbrowser

    has_windows = sys.platform in ("darwin", "win32") or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
    return has_windows and webbrowser.open(address)


COMMAND = Command("ui", "open the playground in a browser", add_arguments, run, "[flags]", EPILOG)
