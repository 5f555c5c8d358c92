"""`aphrodite top`: what the service is doing, once a second, until q or Ctrl-C."""

from __future__ import annotations

import argparse

from aphrodite_apps.cli.command import Command
from aphrodite_apps.cli.service_client import add_port_flag, admin


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--once", action="store_true", help="print one frame and end; into a pipe, that is what it does"
    )
    parser.add_argument("--interval", type=_seconds, default=1.0, metavar="S", help="between frames (default: 1)")
    add_port_flag(parser)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0.1 <= seconds <= 60:
        raise argparse.ArgumentTypeError(f"{text} is not allowed: from 0.1 to 60 seconds")
    return seconds


def run(arguments: argparse.Namespace) -> int:
    from aphrodite_apps.cli.top_screen import Screen  # with rich, which the other commands need not wait for

    with admin(arguments.port) as client:
        screen = Screen(client)
        if arguments.once or not screen.is_live:
            screen.show_once()
        else:
            screen.watch(arguments.interval)
    return 0


COMMAND = Command("top", "watch requests, tokens a second, KV cache and queue, live", add_arguments, run)
