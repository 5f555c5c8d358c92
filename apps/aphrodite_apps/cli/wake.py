"""`aphrodite wake`: a sleeping model is loaded again."""

from __future__ import annotations

import argparse

from aphrodite_apps.cli.command import Command
from aphrodite_apps.cli.service_client import add_name_argument, add_port_flag, admin


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_name_argument(parser)
    add_port_flag(parser)


def run(arguments: argparse.Namespace) -> int:
    with admin(arguments.port) as client:
        name = client.named(arguments.name)
        model = client.post("/admin/wake", model=name)
    print(f"{name} is {model['state']}")
    return 0


COMMAND = Command("wake", "load a sleeping model again", add_arguments, run, "[NAME] [flags]")
