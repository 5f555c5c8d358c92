"""`aphrodite unload`: a model of the running service goes, and its memory is free."""

from __future__ import annotations

import argparse

from aphrodite_apps.cli.command import Command
from aphrodite_apps.cli.service_client import add_port_flag, admin


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a name of the model")
    add_port_flag(parser)


def run(arguments: argparse.Namespace) -> int:
    with admin(arguments.port) as client:
        client.post("/admin/unload", model=arguments.name)
    print(f"{arguments.name} is unloaded; its memory is free")
    return 0


COMMAND = Command("unload", "stop serving a model; its running requests end", add_arguments, run, "NAME [flags]")
