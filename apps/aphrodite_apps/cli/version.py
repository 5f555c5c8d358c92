"""`aphrodite version`: what to write into a bug report."""

from __future__ import annotations

import argparse
import json
import platform

import aphrodite
from aphrodite_apps.cli.command import Command
from aphrodite_apps.cli.loading import backend_name

PACKAGES = ("torch", "triton", "transformers", "tokenizers", "safetensors", "numpy")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON object (default: a table)")


def run(arguments: argparse.Namespace) -> int:
    facts = gather()
    if arguments.json:
        print(json.dumps(facts))
    else:
        for name, value in facts.items():
            print(f"{name:<13} {value or 'not installed'}")
    return 0


def gather() -> dict[str, str | None]:
    """Versions, and what the engine would compute on here."""
    import torch

    device = "cpu"
    if torch.cuda.is_available():
        device = f"cuda ({torch.cuda.get_device_name()})"
    return {
        "aphrodite": aphrodite.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        **{name: _installed(name) for name in PACKAGES},
        "device": device,
        "kernels": kernels(device),
    }


def kernels(device: str) -> str:
    """What computes the engine's operations on this kind of device, in words."""
    from aphrodite_kernels import dispatch

    name = backend_name(device.split("(")[0].split(":")[0].strip())
    words = {
        "native": f"native (C, compiled by {dispatch.compiler()})",
        "triton": "triton",
        "reference": "reference (plain torch)",
    }
    return words[name]


def _installed(name: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version  # a third of what the whole command line costs

    try:
        return version(name)
    except PackageNotFoundError:
        return None


COMMAND = Command("version", "show versions and devices", add_arguments, run)
