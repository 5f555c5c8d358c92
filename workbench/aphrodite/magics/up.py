"""`%aphrodite up`: start the service, or attach to the one that runs; it outlives the kernel."""

from __future__ import annotations

import argparse
from pathlib import Path

from aphrodite.magics.command import Command
from aphrodite.magics.notebook import Notebook


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", nargs="?", default="demo", help="a folder, a Hugging Face id, or demo (default)")
    parser.add_argument("--port", type=int, help="(default: 2242)")
    parser.add_argument("--dtype", help="auto, float32, bfloat16 or float16")
    parser.add_argument("--max-model-len", type=int, metavar="N", help="longest sequence in tokens")


def run(notebook: Notebook, arguments: argparse.Namespace) -> None:
    from aphrodite.service import daemon
    from aphrodite.service.settings import DEFAULT_PORT, ModelSettings, ServiceSettings

    folder = Path(arguments.model).expanduser()
    engine = {name: value for name in ("dtype", "max_model_len") if (value := getattr(arguments, name)) is not None}
    model = ModelSettings(str(folder.resolve()) if folder.is_dir() else arguments.model, engine=engine)
    started = daemon.up(ServiceSettings(models=(model,), port=arguments.port or DEFAULT_PORT))
    connection = started.connection
    notebook.connect(connection.url, connection.admin_key, connection.certificate or None)
    word = "started" if started.is_new else "already running; attached"
    print(f"Aphrodite at {started.connection.url}: {word}. It outlives this kernel; %aphrodite down ends it.")


COMMAND = Command("up", "Start the service in the background, or attach to it.", add_arguments, run)
