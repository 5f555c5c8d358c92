"""From a parsed command line to a model in memory."""

from __future__ import annotations

import argparse
import sys
import threading

import aphrodite
from aphrodite_apps.cli import terminal
from aphrodite_apps.cli.command import UsageError
from aphrodite_apps.cli.engine_flags import engine_options

NOTE_AFTER_SECONDS = 1.0


def open_model(arguments: argparse.Namespace) -> aphrodite.LLM:
    """Load the model the command line names; a progress bar only where somebody can see it."""
    options = engine_options(arguments)
    _build_kernels(str(options.get("device", "auto")))
    return aphrodite.LLM(arguments.model, **options, progress=sys.stderr.isatty())


def _build_kernels(device: str) -> None:
    """Let the C kernels be compiled here, if they are needed and were not yet, and say what takes so long."""
    import torch

    from aphrodite_kernels import dispatch, native

    on_cpu = device == "cpu" or (device == "auto" and not torch.cuda.is_available())
    if not on_cpu or dispatch.backend("cpu") is not dispatch.Backend.NATIVE:
        return
    timer = threading.Timer(
        NOTE_AFTER_SECONDS, terminal.note, ["compiling the C kernels for this machine (only this first time)"]
    )
    timer.daemon = True
    timer.start()
    try:
        native.compiled()
    finally:
        timer.cancel()


def backend_name(device_type: str) -> str:
    """What computes on this kind of device ("cpu", "cuda"): native, triton or reference.

    Raises:
        UsageError: the environment variable APHRODITE_KERNELS asks for what cannot be.
    """
    from aphrodite_kernels import dispatch

    try:
        return dispatch.backend(device_type).value
    except (ValueError, RuntimeError) as error:
        raise UsageError(str(error)) from error
