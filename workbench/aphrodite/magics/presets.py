"""`%aphrodite presets`: named sets of parameters; `--save NAME` keeps what is given."""

from __future__ import annotations

import argparse
from typing import Any

from aphrodite.magics.command import Command
from aphrodite.magics.notebook import Notebook
from aphrodite.magics.parser import add_field_flag
from aphrodite.magics.preset import preset, preset_names, save_preset
from aphrodite.sampling_flags import add_sampling_flags, sampling_fields


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--save", metavar="NAME", help="keep the fields given here under this name")
    add_field_flag(parser)
    add_sampling_flags(parser)


def run(notebook: Notebook, arguments: argparse.Namespace) -> Any:
    if arguments.save:
        file = save_preset(arguments.save, {**dict(arguments.fields), **sampling_fields(arguments)})
        print(f"kept as {arguments.save} ({file.name})")
        return None
    import pandas as pd

    rows = [{"preset": name, "differs from neutral": preset(name)} for name in preset_names()]
    return pd.DataFrame(rows).set_index("preset")


COMMAND = Command("presets", "Named sets of parameters.", add_arguments, run)
