"""`aphrodite share`: a key for a teammate, with what to paste where."""

from __future__ import annotations

import argparse
import textwrap
from typing import TYPE_CHECKING

from aphrodite_apps.cli import terminal
from aphrodite_apps.cli.command import Command
from aphrodite_apps.cli.service_client import add_port_flag, port_flag

if TYPE_CHECKING:
    from aphrodite.service.runtime import Connection

EPILOG = """examples:
  aphrodite share --name dana --limit requests-per-minute=60,tokens-per-minute=20000"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from aphrodite.limit_flags import add_limit_flags

    parser.add_argument("--name", required=True, metavar="NAME", help="whose key it is; needed (default: none)")
    add_limit_flags(parser)
    add_port_flag(parser)


def run(arguments: argparse.Namespace) -> int:
    from aphrodite import share
    from aphrodite.limit_flags import described, limits
    from aphrodite.service import runtime
    from aphrodite.service.access.exposure import key_store

    allowed = limits(arguments)
    connection = runtime.read_connection(arguments.port)
    url = f"http://127.0.0.1:{arguments.port}" if connection is None else share.address(connection)
    model = _model(connection)
    key = key_store().add(arguments.name, allowed, priority=arguments.priority, is_admin=arguments.admin)
    print(terminal.paint(f"The key of {arguments.name}", "bold") + f" ({described(allowed)}), shown this once:")
    print(f"  {key}")
    for title, text in share.snippets(key, url, model).items():
        print("\n" + terminal.paint(title, "bold"))
        print(textwrap.indent(text, "  "), end="")
    for line in _hints(connection, arguments):
        print(line)
    return 0


def _model(connection: Connection | None) -> str:
    from aphrodite.service.daemon import ask

    models = ask(connection, "GET", "/admin/status")["models"] if connection else []
    return models[0]["id"] if models else "demo"


def _hints(connection: Connection | None, arguments: argparse.Namespace) -> list[str]:
    from aphrodite import share

    flag = port_flag(arguments.port)
    if connection is None:
        return ["", f"No service runs on port {arguments.port} yet: `aphrodite up{flag}` starts one."]
    tunnel = share.tunnel(connection)
    if tunnel is None:
        return []
    return [
        "",
        terminal.paint("This service answers this machine only.", "bold") + " From another one, through a tunnel:",
        f"  {tunnel}",
        "or open it to the network:",
        *(f"  {command}" for command in share.opening(flag)),
    ]


COMMAND = Command(
    "share", "make a key for a teammate, with what to paste", add_arguments, run, "--name NAME [flags]", EPILOG
)
