"""`aphrodite keys`: who may call the service, and how much. Works with and without a running service."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from aphrodite_apps.cli import terminal
from aphrodite_apps.cli.command import Command, Parser

if TYPE_CHECKING:  # the key store brings the HTTP server's packages
    from aphrodite.service.access.keys import Key

EPILOG = """examples:
  aphrodite keys add dana --limit requests-per-minute=60,concurrent=4
  aphrodite keys list
  aphrodite keys revoke dana                    at once, also for what is running"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from aphrodite.limit_flags import add_limit_flags

    actions = parser.add_subparsers(dest="action", required=True, metavar="add|list|revoke", parser_class=Parser)
    add = actions.add_parser("add", allow_abbrev=False, help="make a key and show it, once")
    add.add_argument("name", metavar="NAME", help="whose key it is")
    add_limit_flags(add)
    every = actions.add_parser("list", allow_abbrev=False, help="names, limits and what they have used")
    every.add_argument("--json", action="store_true", help="everything, for programs")
    revoke = actions.add_parser("revoke", allow_abbrev=False, help="take a key back")
    revoke.add_argument("name", metavar="NAME", help="whose key it is")


def run(arguments: argparse.Namespace) -> int:
    return {"add": _add, "list": _list, "revoke": _revoke}[arguments.action](arguments)


def _add(arguments: argparse.Namespace) -> int:
    from aphrodite.limit_flags import described, limits
    from aphrodite.service.access.exposure import key_store

    allowed = limits(arguments)
    key = key_store().add(arguments.name, allowed, priority=arguments.priority, is_admin=arguments.admin)
    print(key)
    terminal.note(f"the key of {arguments.name} ({described(allowed)}); it is not shown again")
    return 0


def _list(arguments: argparse.Namespace) -> int:
    import msgspec

    from aphrodite.service.access.exposure import key_store

    keys = key_store().all()
    if arguments.json:
        rows = [{name: value for name, value in msgspec.structs.asdict(k).items() if name != "digest"} for k in keys]
        print(msgspec.json.format(msgspec.json.encode(rows)).decode())
    elif not keys:
        terminal.note("no keys yet; `aphrodite keys add NAME` makes one")
    else:
        width = max(len("name"), *(len(key.name) for key in keys))
        print(terminal.paint(f"{'name':<{width}}  {'last used':<10}  {'requests':>9}  {'tokens':>11}  limits", "bold"))
        for key in keys:
            print(_row(key, width))
    return 0


def _row(key: Key, width: int) -> str:
    from aphrodite.limit_flags import described

    words = "revoked" if key.revoked else described(key.limits) + (", admin" if key.is_admin else "")
    used = _day(key.last_used) if key.last_used else "never"
    return f"{key.name:<{width}}  {used:<10}  {key.usage.requests:>9,}  {key.usage.tokens:>11,}  {words}"


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(seconds))


def _revoke(arguments: argparse.Namespace) -> int:
    from aphrodite.service.access.exposure import key_store

    key_store().revoke(arguments.name)
    print(f"the key of {arguments.name} opens nothing any more")
    return 0


COMMAND = Command(
    "keys", "make, list and revoke keys of the service", add_arguments, run, "add|list|revoke [NAME] [flags]", EPILOG
)
