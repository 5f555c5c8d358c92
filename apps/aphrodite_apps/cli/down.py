"""`aphrodite down`: end the service and give its memory back."""

from __future__ import annotations

import argparse

from aphrodite_apps.cli.command import Command
from aphrodite_apps.cli.service_client import add_port_flag


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_port_flag(parser)
    parser.add_argument("--now", action="store_true", help="do not wait for running requests; they end with an error")


def run(arguments: argparse.Namespace) -> int:
    from aphrodite.service import daemon

    daemon.down(arguments.port, now=arguments.now)
    print("the service has ended; its memory is free")
    return 0


COMMAND = Command("down", "end the service; running requests finish first", add_arguments, run)
