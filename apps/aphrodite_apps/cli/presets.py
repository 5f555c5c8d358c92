"""`aphrodite presets`: named sets of sampling parameters, listed, shown, saved and deleted."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

from aphrodite.presets import Preset, Presets
from aphrodite.sampling_flags import add_sampling_flags, sampling_fields
from aphrodite_apps.cli import terminal
from aphrodite_apps.cli.command import Command, Parser

EPILOG = """examples:
  aphrodite presets                                       all of them, and what each is for
  aphrodite presets show focused                          its fields, as JSON
  aphrodite presets save mine --top-p 0.9 --why "for the survey"
  aphrodite generate "Once upon a time" --preset mine

Your own are files of TOML in the folder presets of the configuration folder (APHRODITE_CONFIG_DIR).
"""


def add_preset_flag(parser: argparse.ArgumentParser) -> None:
    """For commands that sample."""
    parser.add_argument(
        "--preset", metavar="NAME", help="start from a named set of parameters; flags change it (default: neutral)"
    )


def preset_fields(arguments: argparse.Namespace) -> dict[str, Any]:
    """The preset's fields and, over them, those given as flags.

    Raises:
        PresetError: no such preset.
    """
    return {**Presets().read(arguments.preset or "neutral"), **sampling_fields(arguments)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="list|show|save|delete", parser_class=Parser)
    every = actions.add_parser("list", allow_abbrev=False, help="names, fields, and what each is for (the default)")
    for found in (parser, every):
        found.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help="everything, for programs (default: text)"
        )
    show = actions.add_parser("show", allow_abbrev=False, help="the fields of one, as JSON")
    show.add_argument("name", metavar="NAME", help="of the preset")
    save = actions.add_parser("save", allow_abbrev=False, help="keep flags as a preset of your own")
    save.add_argument("name", metavar="NAME", help="of the preset")
    save.add_argument("--why", default="", metavar="TEXT", help="what it is for, in one line (default: nothing)")
    add_sampling_flags(save)
    delete = actions.add_parser("delete", allow_abbrev=False, help="remove one of your own")
    delete.add_argument("name", metavar="NAME", help="of the preset")


def run(arguments: argparse.Namespace) -> int:
    {"show": _show, "save": _save, "delete": _delete}.get(arguments.action or "", _list)(arguments)
    return 0


def _list(arguments: argparse.Namespace) -> None:
    presets = Presets()
    if getattr(arguments, "json", False):
        rows = [{"name": p.name, "fields": dict(p.fields), "why": p.why, "own": p.is_own} for p in presets.all()]
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    width = max(map(len, presets.names()))
    for preset in presets.all():
        print(_described(preset, width))


def _described(preset: Preset, width: int) -> str:
    """Two lines: name and fields, and below them what it is for."""
    name = terminal.paint(f"{preset.name:<{width}}", "bold")
    why = " · ".join(["your own"] * preset.is_own + [preset.why] * bool(preset.why))
    lines = [f"{name}  {_written(preset.fields)}".rstrip()]
    return "\n".join(lines + [terminal.paint(f"{'':<{width}}  {why}", "dim")] * bool(why))


def _written(fields: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in fields.items()
    )


def _show(arguments: argparse.Namespace) -> None:
    print(json.dumps(Presets().read(arguments.name), ensure_ascii=False))


def _save(arguments: argparse.Namespace) -> None:
    file = Presets().save(arguments.name, sampling_fields(arguments), arguments.why)
    kept = _written(Presets().read(arguments.name)) or "nothing, for nothing differs from neutral"
    print(f"kept as {arguments.name}: {kept}")
    terminal.note(str(file))


def _delete(arguments: argparse.Namespace) -> None:
    Presets().delete(arguments.name)
    print(f"{arguments.name} is deleted")


COMMAND = Command(
    "presets",
    "named sets of sampling parameters",
    add_arguments,
    run,
    "[list|show|save|delete] [NAME] [flags]",
    EPILOG,
)
