"""`%aphrodite up`: start the service, or attach to the one that runs; it outlives the kernel."""

from __future__ import annotations

import argparse
from pathlib import Path

from aphrodite.magics.command import Command
from aphrodite.magics.loading_bar import LoadingBar
from aphrodite.magics.notebook import Notebook


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", nargs="?", help="a folder, a Hugging Face id, or demo (default)")
    parser.add_argument("--port", type=int, metavar="N", help="(default: 2242, or the setting port)")
    add_engine_flags(parser)


def add_engine_flags(parser: argparse.ArgumentParser) -> None:
    """What `up` and `load` share."""
    parser.add_argument("--dtype", help="auto, float32, bfloat16 or float16")
    parser.add_argument("--max-model-len", type=int, metavar="N", help="longest sequence in tokens")


def engine_fields(arguments: argparse.Namespace) -> dict[str, object]:
    """Those of them that were given."""
    return {name: value for name in ("dtype", "max_model_len") if (value := getattr(arguments, name)) is not None}


def model_named(name: str) -> str:
    """A folder by its whole path: the service's own folder is another one."""
    folder = Path(name).expanduser()
    return str(folder.resolve()) if folder.is_dir() else name


def run(notebook: Notebook, arguments: argparse.Namespace) -> None:
    from aphrodite.service import daemon
    from aphrodite.service.settings import ModelSettings, ServiceSettings

    port = notebook.settings.port if arguments.port is None else arguments.port
    model = ModelSettings(model_named(arguments.model or "demo"), engine=engine_fields(arguments))
    with LoadingBar(shown=notebook.settings.display == "rich") as bar:
        started = daemon.up(ServiceSettings(models=(model,), port=port), report=bar)
    client = notebook.connect(started.connection.url)
    word = "started" if started.is_new else "already running; attached"
    print(f"Aphrodite at {client.url}: {word}. It outlives this kernel; %aphrodite down ends it.")
    if arguments.model and model.id not in {found.id for found in client.models()}:
        print(f"It does not serve {model.id} yet: %aphrodite load {arguments.model} loads it beside the others.")


COMMAND = Command("up", "Start the service in the background, or attach to it.", add_arguments, run)
