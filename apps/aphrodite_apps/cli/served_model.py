"""A model to serve, as flags: which, under which names, with which engine settings."""

from __future__ import annotations

import argparse
from pathlib import Path

from aphrodite.service.settings import ModelSettings, default_name
from aphrodite_apps.cli.command import UsageError
from aphrodite_apps.cli.engine_flags import add_engine_flags, engine_options


def add_served_model_flags(parser: argparse.ArgumentParser) -> None:
    """--served-model-name, --aliases and the engine's settings; MODEL is the command's own."""
    parser.add_argument(
        "--served-model-name", dest="names", action="append", default=[], metavar="NAME",
        help="what clients call the model; repeat it for several names (default: the folder's name, or the id)",
    )  # fmt: skip
    parser.add_argument(
        "--aliases", type=lambda text: text.split(","), default=[], metavar="A,B",
        help="more names for it (default: none)",
    )  # fmt: skip
    add_engine_flags(parser)


def model_settings(model: str, arguments: argparse.Namespace) -> ModelSettings:
    """What the service is asked to load; a folder as an absolute path, since the service runs elsewhere.

    Raises:
        UsageError: a name that cannot be one.
    """
    folder = Path(model).expanduser()
    source = str(folder.resolve()) if folder.is_dir() else model
    names = [name.strip() for name in (*(arguments.names or [default_name(source)]), *arguments.aliases)]
    if not all(names):
        raise UsageError("a served model name cannot be empty")
    options = {name: str(v) if isinstance(v, Path) else v for name, v in engine_options(arguments).items()}
    return ModelSettings(source, tuple(dict.fromkeys(names)), options)
