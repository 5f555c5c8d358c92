"""`aphrodite up`: start the service, or attach to the one that runs."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aphrodite_apps.cli import terminal
from aphrodite_apps.cli.command import Command, UsageError
from aphrodite_apps.cli.loading_line import LoadingLine
from aphrodite_apps.cli.served_model import add_served_model_flags, model_settings
from aphrodite_apps.cli.service_client import add_port_flag, admin, port_flag

EPILOG = """examples:
  aphrodite up                                  the bundled model on 127.0.0.1:2242
  aphrodite up ~/models/Qwen3-0.6B --dtype bfloat16 --served-model-name qwen
  aphrodite up --foreground                     stay attached, for containers"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from aphrodite.service.settings import DEFAULT_HOST

    parser.add_argument(
        "model", nargs="?", metavar="MODEL",
        help="a model folder, a Hugging Face id, or demo, the bundled one (default: demo)",
    )  # fmt: skip
    add_port_flag(parser)
    parser.add_argument("--host", default=DEFAULT_HOST, help=f"address to listen on (default: {DEFAULT_HOST})")
    parser.add_argument("--allowed-host", dest="allowed_hosts", action="append", default=[], metavar="NAME",
                        help="a further name, under which a key is needed; repeatable (default: none)")  # fmt: skip
    parser.add_argument("--allowed-origin", dest="allowed_origins", action="append", default=[], metavar="ORIGIN",
                        help="origin whose web pages may call from a browser; repeatable (default: none)")  # fmt: skip
    parser.add_argument("--require-key", action="store_true", help="also on this machine, where others use it too")
    parser.add_argument("--tls-cert", default="", metavar="FILE",
                        help="certificate (PEM) to speak HTTPS with (default: HTTP)")  # fmt: skip
    parser.add_argument("--tls-key", default="", metavar="FILE", help="its private key (PEM) (default: none)")
    parser.add_argument("--insecure-http", action="store_true", help="other machines may call without TLS")
    parser.add_argument("--drain-seconds", type=float, default=30.0, metavar="S",
                        help="how long running requests may go on after SIGTERM (default: 30)")  # fmt: skip
    parser.add_argument("--hung-seconds", type=float, default=30.0, metavar="S",
                        help="an engine that says nothing for so long, or is in one step for so much longer than its "
                        "tokens explain, is started again (default: 30)")  # fmt: skip
    parser.add_argument("--keep-days", type=float, default=0.0, metavar="D",
                        help="delete stored responses, conversations, batches and files after so long; 0 keeps them "
                        "(default: 0)")  # fmt: skip
    parser.add_argument("--log-prompts", action="store_true", help="write prompts and answers to the log")
    parser.add_argument("--foreground", action="store_true", help="serve in this process until it is told to end")
    add_served_model_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    from aphrodite.service import daemon
    from aphrodite.service.settings import ServiceSettings, StorageSettings

    if not 0 <= arguments.port <= 65535:
        raise UsageError(f"--port {arguments.port}: a number from 0 (the system's choice) to 65535")
    settings = ServiceSettings(
        models=(model_settings(arguments.model or "demo", arguments),),
        host=arguments.host,
        port=arguments.port,
        allowed_hosts=tuple(arguments.allowed_hosts),
        allowed_origins=tuple(arguments.allowed_origins),
        require_key=arguments.require_key,
        tls_cert=_pem(arguments.tls_cert),
        tls_key=_pem(arguments.tls_key),
        insecure_http=arguments.insecure_http,
        drain_seconds=arguments.drain_seconds,
        hung_seconds=arguments.hung_seconds,
        storage=StorageSettings(keep_days=arguments.keep_days),
        log_prompts=arguments.log_prompts,
    )
    if arguments.foreground:
        from aphrodite.service import server
        from aphrodite.service.telemetry import logs

        logs.configure()
        return server.run(settings)
    with LoadingLine() as line:
        started = daemon.up(settings, report=line)
    port = started.connection.port
    with admin(port) as client:
        status = client.get("/admin/status")
    show(status, started.connection.url, "started" if started.is_new else "already running; attached")
    if not started.is_new:
        for difference in _differences(settings, arguments.model, status, started.connection.host):
            print(terminal.paint("  note       ", "bold") + difference)
    flag = port_flag(port)
    print(terminal.paint(f"  `aphrodite status{flag}` shows it, `aphrodite down{flag}` ends it", "dim"))
    return 0


def _pem(name: str) -> str:
    """The file's full name: the service has another working folder."""
    if name and not Path(name).expanduser().is_file():
        raise UsageError(f"there is no file {name}")
    return str(Path(name).expanduser().resolve()) if name else ""


def show(status: Mapping[str, Any], url: str, word: str) -> None:
    """A running service: its models with their memory plans, and its addresses."""
    print(terminal.paint(f"Aphrodite {status['version']}: {word}", "bold"))
    for model in status["models"]:
        print(f"  model      {', '.join(model['names'])} ({model['state']})")
        for line in (model["plan_text"] or "").splitlines()[1:]:
            print("    " + terminal.paint(line, "dim"))
    print(f"  playground {url}/")
    print(f"  endpoint   {url}/v1")
    print(f"  health     {url}/health")
    if os.environ.get("APHRODITE_RUNTIME_DIR"):
        print(terminal.paint(f"  files      {os.environ['APHRODITE_RUNTIME_DIR']}", "dim"))


def _differences(wanted: Any, named: str | None, status: Mapping[str, Any], host: str) -> Iterator[str]:
    """What was asked for and is not so, and how to get it."""
    model = wanted.models[0]
    flag = port_flag(wanted.port)
    if host != wanted.host:
        yield f"it listens on {host}, not {wanted.host}: `aphrodite down{flag}`, then up again"
    same = [running for running in status["models"] if running["model"] == model.model]
    if named is not None and not same:
        served = ", ".join(running["id"] for running in status["models"]) or "no model"
        yield (
            f"it serves {served}, not {named}: `aphrodite load {named}{flag}` loads it beside, "
            f"`aphrodite unload NAME{flag}` frees a model's memory"
        )
    for running in same[:1]:
        names = set(model.names) - set(running["names"])
        changed = [f"{k}={v}" for k, v in model.engine.items() if running["engine"].get(k) != v]
        if (named is not None or model.engine) and (names or changed):
            yield (
                f"{running['id']} was loaded without {', '.join([*changed, *sorted(names)])}: "
                f"`aphrodite unload {running['id']}{flag}`, then `aphrodite load {named or model.model} ...{flag}`"
            )


COMMAND = Command("up", "start the service, or attach to it", add_arguments, run, "[MODEL] [flags]", EPILOG)
