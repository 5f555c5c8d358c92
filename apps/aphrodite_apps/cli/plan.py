"""`aphrodite plan`: what a model would take, before anything is loaded."""

from __future__ import annotations

import argparse
import dataclasses
import json

from aphrodite_apps.cli.command import Command
from aphrodite_apps.cli.engine_flags import add_engine_flags, engine_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="a model folder, a Hugging Face id, or demo, the bundled one")
    parser.add_argument("--json", action="store_true", help="one JSON object, sizes in bytes (default: a table)")
    add_engine_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    from aphrodite_engine.config import EngineConfig  # these bring torch, which --help can do without
    from aphrodite_engine.loading.plan import plan_memory

    plan = plan_memory(arguments.model, EngineConfig(**engine_options(arguments)))
    if arguments.json:
        print(json.dumps({**dataclasses.asdict(plan), "left_bytes": plan.left_bytes}))
    else:
        print(plan)
    return 0


COMMAND = Command(
    "plan", "show what a model would take of memory, without loading it", add_arguments, run, "MODEL [flags]"
)
