"""`%aphrodite keys`: who may call the service, and how much."""

from __future__ import annotations

import argparse
from datetime import datetime
from typing import Any

from aphrodite.magics.command import Command
from aphrodite.magics.errors import UsageError
from aphrodite.magics.notebook import Notebook
from aphrodite.magics.shared_key import make_key
from aphrodite.magics.table import Table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from aphrodite.limit_flags import add_limit_flags

    parser.add_argument("action", nargs="?", default="list", choices=("list", "add", "revoke"),
                        help="what to do (default: list)")  # fmt: skip
    parser.add_argument("name", nargs="?", metavar="NAME", help="whose key it is; list needs none")
    add_limit_flags(parser)


def run(notebook: Notebook, arguments: argparse.Namespace) -> Any:
    if arguments.action == "list":
        return _table(notebook)
    if arguments.name is None:
        raise UsageError(f"keys {arguments.action}: say whose key, as in %aphrodite keys {arguments.action} dana")
    if arguments.action == "add":
        return make_key(notebook, arguments)
    with notebook.admin() as client:
        client.revoke_key(arguments.name)
    print(f"the key of {arguments.name} opens nothing any more")
    return None


def _table(notebook: Notebook) -> Table:
    with notebook.admin() as client:
        keys = client.keys()
    return Table([_row(key) for key in keys], "no keys yet; %aphrodite keys add NAME makes one")


def _row(key: dict[str, Any]) -> dict[str, Any]:
    from aphrodite.limit_flags import described

    words = "revoked" if key["revoked"] else described(key["limits"]) + (", admin" if key["is_admin"] else "")
    used, usage = key["last_used"], key["usage"]
    return {
        "name": key["name"],
        "limits": words,
        "requests": usage["requests"],
        "tokens": usage["prompt_tokens"] + usage["output_tokens"],
        "last_used": datetime.fromtimestamp(used).isoformat(" ", "minutes") if used else "never",
    }


COMMAND = Command("keys", "Make, list and revoke keys of the service.", add_arguments, run)
