"""A real kernel in a process of its own, as Jupyter starts one, and what its cells show."""

from __future__ import annotations

import contextlib
import os
import queue
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from tests.service.running import Running

_SECONDS = 60.0


@dataclass
class Output:
    """What one cell showed.

    Attributes:
        stdout: everything it printed.
        displays: bundles by display id, or in their order where there is none; the newest of each.
        updates: how many bundles came under a display id, each with its time (monotonic).
        errors: name and message of what it raised.
    """

    stdout: str = ""
    stderr: str = ""
    displays: dict[str, dict[str, Any]] = field(default_factory=dict)
    metadata: dict[str, dict[str, Any]] = field(default_factory=dict)
    updates: list[tuple[float, str]] = field(default_factory=list)
    value: dict[str, Any] | None = None
    errors: list[tuple[str, str]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All of it as plain text."""
        shown = [bundle.get("text/plain", "") for bundle in self.displays.values()]
        return "\n".join([self.stdout, *shown, *([self.value["text/plain"]] if self.value else [])]).strip()

    def add(self, message: dict[str, Any]) -> None:
        """One message of the kernel."""
        kind, content = message["msg_type"], message["content"]
        if kind == "stream":
            setattr(self, content["name"], getattr(self, content["name"]) + content["text"])
        elif kind in ("display_data", "update_display_data"):
            name = content.get("transient", {}).get("display_id") or f"number {len(self.displays)}"
            self.displays[name] = content["data"]
            self.metadata[name] = content["metadata"]
            self.updates.append((time.monotonic(), name))
        elif kind == "execute_result":
            self.value = content["data"]
        elif kind == "error":
            self.errors.append((content["ename"], content["evalue"]))


class Kernel:
    """One kernel with the extension loaded."""

    def __init__(self, manager: KernelManager) -> None:
        self.manager = manager
        self._begin()

    def __call__(self, code: str, seconds: float = _SECONDS) -> Output:
        """Run a cell to its end."""
        return self.finish(self.start(code), seconds)

    def start(self, code: str) -> str:
        """Hand a cell over and do not wait; gives its message's id."""
        return self.client.execute(code)

    def start_running(self, code: str) -> str:
        """The same, and wait until the kernel has begun."""
        cell = self.start(code)
        while self._next(cell, _SECONDS)["msg_type"] != "execute_input":
            pass
        return cell

    def finish(self, cell: str, seconds: float = _SECONDS, shown: Output | None = None) -> Output:
        """Wait until the cell is done."""
        shown, deadline = shown or Output(), time.monotonic() + seconds
        while True:
            message = self._next(cell, deadline - time.monotonic())
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                return shown
            shown.add(message)

    def until(self, cell: str, enough: Any, seconds: float = _SECONDS) -> Output:
        """What the cell has shown when `enough(output)` says so; it runs on."""
        shown, deadline = Output(), time.monotonic() + seconds
        while not enough(shown):
            shown.add(self._next(cell, deadline - time.monotonic()))
        return shown

    def interrupt(self) -> None:
        """The stop button."""
        self.manager.interrupt_kernel()

    def restart(self) -> None:
        """The restart button."""
        self.client.stop_channels()
        self.manager.restart_kernel(now=True)
        self._begin()

    def complete(self, code: str) -> list[str]:
        """What the tab key offers at the end of the code."""
        asked = self.client.complete(code, len(code))
        while (reply := self.client.get_shell_msg(timeout=_SECONDS))["parent_header"]["msg_id"] != asked:
            pass
        return reply["content"]["matches"]

    def _begin(self) -> None:
        self.client: BlockingKernelClient = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=_SECONDS)
        assert not self("%load_ext aphrodite").errors

    def _next(self, cell: str, seconds: float) -> dict[str, Any]:
        """The next message of this cell; what belongs to no cell (widgets) is passed over."""
        deadline = time.monotonic() + max(seconds, 0.01)
        while True:
            try:
                message = self.client.get_iopub_msg(timeout=max(deadline - time.monotonic(), 0.01))
            except queue.Empty:
                raise TimeoutError("the cell is not done in time") from None
            if message["parent_header"].get("msg_id") == cell:
                return message


@contextlib.contextmanager
def kernel(service: Running, **environment: str) -> Iterator[Kernel]:
    """A kernel that finds this service."""
    with kernel_in(service.home, **folders_of(service), **environment) as found:
        yield found


@contextlib.contextmanager
def kernel_in(home: Path, **environment: str) -> Iterator[Kernel]:
    """A kernel whose own files are in this folder."""
    manager = KernelManager(kernel_name="python3")
    # ipykernel warns of itself when it completes.
    warned = "error,ignore::PendingDeprecationWarning"
    own = {"IPYTHONDIR": str(home / "ipython"), "JUPYTER_RUNTIME_DIR": str(home / "jupyter"), "PYTHONWARNINGS": warned}
    manager.start_kernel(env=os.environ | own | environment)
    try:
        yield Kernel(manager)
    finally:
        if manager.is_alive():
            manager.shutdown_kernel(now=True)


def folders_of(service: Running) -> dict[str, str]:
    """Where whatever starts with this environment finds the service, and nothing else."""
    return {
        "APHRODITE_RUNTIME_DIR": str(service.home / "run"),
        "APHRODITE_DATA_DIR": str(service.home / "data"),
        "APHRODITE_CONFIG_DIR": str(service.home / "config"),
    }
