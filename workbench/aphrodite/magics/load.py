"""`%aphrodite load MODEL`: serve one more model."""

from __future__ import annotations

import argparse
from pathlib import Path

from aphrodite.magics.command import Command
from aphrodite.magics.notebook import Notebook


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="a folder, a Hugging Face id, or demo")
    parser.add_argument("--name", action="append", default=[], help="what it is served as; repeatable")
    parser.add_argument("--dtype", help="auto, float32, bfloat16 or float16")
    parser.add_argument("--max-model-len", type=int, metavar="N", help="longest sequence in tokens")


def run(notebook: Notebook, arguments: argparse.Namespace) -> None:
    folder = Path(arguments.model).expanduser()
    engine = {name: value for name in ("dtype", "max_model_len") if (value := getattr(arguments, name)) is not None}
    model = str(folder.resolve()) if folder.is_dir() else arguments.model
    loaded = notebook.client().load(model, names=arguments.name, **engine)
    notebook.forget_model()
    print(f"{', '.join(loaded['names'])}: {loaded['state']}\n{loaded['plan_text']}")


COMMAND = Command("load", "Serve one more model beside the others.", add_arguments, run)
