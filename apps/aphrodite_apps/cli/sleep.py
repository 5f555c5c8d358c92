"""`aphrodite sleep`: a model gives its memory back and keeps its name."""

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
        client.post("/admin/sleep", model=name)
    print(f"{name} is asleep, its memory is free; `aphrodite wake {name}` loads it again")
    return 0


COMMAND = Command("sleep", "give a model's memory back and keep its name", add_arguments, run, "[NAME] [flags]")
