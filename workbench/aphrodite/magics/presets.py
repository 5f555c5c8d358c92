"""`%aphrodite presets`: named sets of parameters, listed, shown, saved and deleted."""

from __future__ import annotations

import argparse
from typing import Any

from aphrodite.magics.command import Command
from aphrodite.magics.errors import UsageError
from aphrodite.magics.notebook import Notebook
from aphrodite.magics.parser import add_field_flag
from aphrodite.magics.table import Table
from aphrodite.presets import Preset, Presets
from aphrodite.sampling_flags import add_sampling_flags, sampling_fields


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", default="list", choices=("list", "show", "save", "delete"),
                        help="what to do (default: list)")  # fmt: skip
    parser.add_argument("name", nargs="?", metavar="NAME", help="of the preset; list needs none")
    parser.add_argument("--why", default="", metavar="TEXT", help="with save: what it is for, in one line")
    add_field_flag(parser)
    add_sampling_flags(parser)


def run(notebook: Notebook, arguments: argparse.Namespace) -> Any:
    presets, action, fields = Presets(), arguments.action, {**dict(arguments.fields), **sampling_fields(arguments)}
    if (fields or arguments.why) and action != "save":
        raise UsageError(f"presets {action}: {next(iter(fields), '--why')} belongs to `presets save NAME`")
    if action == "list":
        return _table(presets)
    if arguments.name is None:
        raise UsageError(f"presets {action}: name the preset (known: {', '.join(presets.names())})")
    if action == "show":
        return presets.read(arguments.name)
    if action == "delete":
        presets.delete(arguments.name)
        print(f"{arguments.name} is deleted")
        return None
    presets.save(arguments.name, fields, arguments.why)
    kept = ", ".join(f"{name}={value!r}" for name, value in presets.read(arguments.name).items())
    print(f"kept as {arguments.name}: {kept or 'nothing, for nothing differs from neutral'}")
    return None


def _table(presets: Presets) -> Table:
    return Table([_row(found) for found in presets.all()])


def _row(found: Preset) -> dict[str, Any]:
    own = "yes" if found.is_own else None
    return {"preset": found.name, "differs_from_neutral": found.fields, "why": found.why, "own": own}


COMMAND = Command("presets", "Named sets of parameters.", add_arguments, run)
