"""For every test: no network to a model hub, no telemetry, GPU tests only where there is a GPU."""

from __future__ import annotations

import os
import signal
from typing import Any

# Before anything imports huggingface_hub, which reads its environment once.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
# tokenizers warns when a process that used its threads forks; the tests start many processes.
os.environ["TOKENIZERS_PARALLELISM"] = "false"

# A shell without job control starts background commands with interrupts ignored, nohup with hangups, and children
# inherit that; the tests that interrupt one need it to listen.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

import pytest

from tests.browser.chromium import chromium, console_errors, dark_page, page, visit
from tests.examples import look_alike_every_time

__all__ = ["chromium", "console_errors", "dark_page", "page", "visit"]  # fixtures for every folder

look_alike_every_time()

#: Folders whose tests start no service, kernel or browser, so that several processes may share them.
SHARED = ("demo_model", "display", "engine", "experiments", "house", "kernels", "lab", "workbench")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadscope`: processes share the tests of SHARED, one of them runs all others in turn.

    xdist's own groups (`--dist loadgroup`) have no effect in its version 3.8 with pytest 9.2.
    """
    if config.getvalue("dist") != "loadscope":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class InTurn(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return nodeid if _is_shared(nodeid) else "in turn"

    return InTurn(config, log)


def _is_shared(nodeid: str) -> bool:
    return nodeid.startswith(tuple(f"tests/{folder}/" for folder in SHARED))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """First what processes may share, then all others; of what needs a GPU nothing where there is none."""
    items.sort(key=lambda item: not _is_shared(item.nodeid))
    _skip_without_gpu(items)


def _skip_without_gpu(items: list[pytest.Item]) -> None:
    """torch is imported only if such a test was collected."""
    on_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if not on_gpu:
        return
    import torch

    if not torch.cuda.is_available():
        for item in on_gpu:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
