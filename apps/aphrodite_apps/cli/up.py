"""`aphrodite up`: start the service, or attach to the one that runs."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from aphrodite_apps.cli import terminal
from aphrodite_apps.cli.command import Command
from aphrodite_apps.cli.engine_flags import add_engine_flags, engine_options
from aphrodite_apps.cli.service_client import add_port_flag, admin

EPILOG = """examples:
  aphrodite up                                  the bundled model on 127.0.0.1:2242
  aphrodite up ~/models/Qwen3-0.6B --dtype bfloat16 --served-model-name qwen
  aphrodite up --foreground                     stay attached, for containers"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from aphrodite.service.settings import DEFAULT_HOST

    parser.add_argument(
        "model", nargs="?", default="demo", metavar="MODEL",
        help="a model folder, a Hugging Face id, or demo, the bundled one (default: demo)",
    )  # fmt: skip
    add_port_flag(parser)
    parser.add_argument("--host", default=DEFAULT_HOST, help=f"address to listen on (default: {DEFAULT_HOST})")
    parser.add_argument(
        "--served-model-name", "--aliases", dest="names", action="append", default=[], metavar="NAME",
        help="what clients call the model; repeat it for several names (default: the model's own name)",
    )  # fmt: skip
    parser.add_argument("--allowed-host", dest="allowed_hosts", action="append", default=[], metavar="NAME",
                        help="a name that the Host header may carry besides the address; repeatable")  # fmt: skip
    parser.add_argument("--allowed-origin", dest="allowed_origins", action="append", default=[], metavar="ORIGIN",
                        help="an origin whose web pages may call from a browser; repeatable")  # fmt: skip
    parser.add_argument("--drain-seconds", type=float, default=30.0, metavar="S",
                        help="how long running requests may go on after SIGTERM (default: 30)")  # fmt: skip
    parser.add_argument("--log-prompts", action="store_true", help="write prompts and answers to the log")
    parser.add_argument("--foreground", action="store_true", help="serve in this process until it is told to end")
    add_engine_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    from aphrodite.service import daemon
    from aphrodite.service.settings import ModelSettings, ServiceSettings

    folder = Path(arguments.model).expanduser()
    settings = ServiceSettings(
        models=(
            ModelSettings(
                str(folder.resolve()) if folder.is_dir() else arguments.model,
                tuple(dict.fromkeys(arguments.names)),
                {name: str(v) if isinstance(v, Path) else v for name, v in engine_options(arguments).items()},
            ),
        ),
        host=arguments.host,
        port=arguments.port,
        allowed_hosts=tuple(arguments.allowed_hosts),
        allowed_origins=tuple(arguments.allowed_origins),
        drain_seconds=arguments.drain_seconds,
        log_prompts=arguments.log_prompts,
    )
    if arguments.foreground:
        from aphrodite.service import logs, server

        logs.configure()
        return server.run(settings)
    waiting = _Waiting()
    started = daemon.up(settings, report=waiting.show)
    waiting.clear()
    _print(started.is_new, started.connection.url, started.connection.port)
    return 0


class _Waiting:
    """One line that says what the service is doing, where somebody can see it."""

    def __init__(self) -> None:
        self._shown = ""

    def show(self, connection: object) -> None:
        if sys.stderr.isatty() and not self._shown:
            self._shown = "loading the model ..."
            sys.stderr.write(terminal.paint(self._shown, "dim", stream=sys.stderr))
            sys.stderr.flush()

    def clear(self) -> None:
        if self._shown:
            sys.stderr.write("\r" + " " * len(self._shown) + "\r")


def _print(is_new: bool, url: str, port: int) -> None:
    with admin(port) as client:
        status = client.get("/admin/status")
    word = "started" if is_new else "already running; attached"
    print(terminal.paint(f"Aphrodite {status['version']}: {word}", "bold"))
    for model in status["models"]:
        print(f"  model      {', '.join(model['names'])} ({model['state']})")
        for line in (model["plan_text"] or "").splitlines()[1:]:
            print("    " + terminal.paint(line, "dim"))
    print(f"  endpoint   {url}/v1")
    print(f"  health     {url}/health")
    flag = "" if port == 2242 else f" --port {port}"
    print(
        terminal.paint(
            f"  It runs on its own now. `aphrodite status{flag}` shows it, `aphrodite down{flag}` ends it.", "dim"
        )
    )
    if os.environ.get("APHRODITE_RUNTIME_DIR"):
        print(terminal.paint(f"  runtime folder: {os.environ['APHRODITE_RUNTIME_DIR']}", "dim"))


COMMAND = Command("up", "start the service, or attach to it", add_arguments, run, "[MODEL] [flags]", EPILOG)
