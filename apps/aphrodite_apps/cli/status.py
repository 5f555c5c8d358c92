"""`aphrodite status`: what the service is doing."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

from aphrodite_apps.cli import terminal
from aphrodite_apps.cli.command import Command
from aphrodite_apps.cli.service_client import add_port_flag, admin


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_port_flag(parser)
    parser.add_argument("--json", action="store_true", help="everything, for programs")


def run(arguments: argparse.Namespace) -> int:
    with admin(arguments.port) as client:
        status = client.get("/admin/status")
        url = client.connection.url
    if arguments.json:
        print(json.dumps(status, indent=2))
        return 0
    doing = ", shutting down" if status["draining"] else ""
    title = terminal.paint(f"Aphrodite {status['version']} at {url}", "bold")
    print(f"{title}, process {status['pid']}, up for {_age(status['started'])}{doing}")
    for model in status["models"]:
        print(f"  {', '.join(model['names'])}: {model['state']}")
        for line in _details(model):
            print("    " + line)
    if not status["models"]:
        print("  no model is loaded; `aphrodite load MODEL` loads one")
    return 0


def _details(model: Mapping[str, Any]) -> Iterator[str]:
    stats = model["stats"]
    done, total = model["progress"]
    if model["state"] == "starting" and total:
        yield f"{terminal.size(done)} of {terminal.size(total)} loaded"
    if model["state"] == "ready":
        yield f"{stats['running']} running, {stats['waiting']} waiting, {_kv(stats)}"
    if model["pid"] is not None:
        restarts = f", {model['restarts']} restarts" if model["restarts"] else ""
        yield f"process {model['pid']}, {terminal.size(stats['resident_bytes'])} resident{restarts}"
    if model["problem"]:
        yield terminal.paint(model["problem"], "red")


def _kv(stats: Mapping[str, int]) -> str:
    if not stats["kv_blocks"]:
        return "no KV cache"
    return f"KV cache {100 * stats['kv_blocks_used'] / stats['kv_blocks']:.0f} % held"


def _age(started: float) -> str:
    seconds = int(time.time() - started)
    hours, minutes = seconds // 3600, seconds // 60 % 60
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"


COMMAND = Command("status", "show the service: models, memory, queue", add_arguments, run)
