"""`%aphrodite load MODEL`: serve one more model."""

from __future__ import annotations

import argparse

from aphrodite.magics.command import Command
from aphrodite.magics.notebook import Notebook
from aphrodite.magics.up import add_engine_flags, engine_fields, model_named


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="a folder, a Hugging Face id, or demo")
    parser.add_argument("--name", action="append", default=[], help="what it is served as; repeatable")
    add_engine_flags(parser)


def run(notebook: Notebook, arguments: argparse.Namespace) -> None:
    with notebook.admin() as client:
        loaded = client.load(model_named(arguments.model), names=arguments.name, **engine_fields(arguments))
    notebook.forget_model()
    print(f"{', '.join(loaded['names'])}: {loaded['state']}\n{loaded['plan_text']}")


COMMAND = Command("load", "Serve one more model beside the others.", add_arguments, run)
