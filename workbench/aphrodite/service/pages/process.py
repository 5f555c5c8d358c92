"""The playground's process: started at the first visit, started again at the next one when it has died.

It is not the service itself because its toolkit takes seconds to import and hundreds of megabytes: neither may be felt
by running streams, or by those who never open a page.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import enum
import logging
import os
import socket
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path

from aphrodite.service.pages.wire import status_of

logger = logging.getLogger("aphrodite.playground")

#: An installed package offers the module that is the playground under this name; the workbench knows none.
GROUP = "aphrodite.playground"
_START_SECONDS = 120.0
#: Between the end of its connections and its own.
_LAST_SECONDS = 1.0


class State(enum.Enum):
    """What the process is doing."""

    ABSENT = "absent"  # nothing that is installed offers one
    IDLE = "idle"
    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"  # the last start; the next visit tries again


class PageProcess:
    """Owns the process; one task from its start to its end.

    Attributes:
        socket: where it listens, in a folder that only this user may enter.

    Args:
        directory: the service's own folder; None is a service without pages.
        arguments: of the process: where it finds the service.
        command: another one, for tests; empty is the installed one.
    """

    def __init__(self, directory: Path | None, arguments: Sequence[str] = (), command: Sequence[str] = ()) -> None:
        self.state = State.IDLE if directory else State.ABSENT
        self.pid: int | None = None
        self.socket = (directory or Path()) / f"page-{os.getpid()}.sock"
        self._command, self._arguments = tuple(command), tuple(arguments)
        self._life: asyncio.Task[None] | None = None

    def visit(self) -> State:
        """Somebody arrives: how the process is; it is started if it is not running.

        A start that failed is told once; who tries again starts it again.
        """
        found = self.state
        if found is State.IDLE:
            self._start()
            return self.state
        if found is State.FAILED:
            self.state = State.IDLE
        return found

    async def close(self) -> None:
        """End the process, and start no other."""
        self.state = State.ABSENT
        if self._life is not None:
            self._life.cancel()
            await asyncio.wait({self._life})

    def _start(self) -> None:
        command = self._command or _installed()
        if not command:
            self.state = State.ABSENT
            return
        self.state = State.STARTING
        # In a context of its own: what the log says later is not part of the request that came first.
        self._life = asyncio.create_task(self._live(command), context=contextvars.Context())

    async def _live(self, command: Sequence[str]) -> None:
        """From the start to the end; another life begins only when nothing of this one is left."""
        after = State.FAILED
        try:
            await self._run(command)
            after = State.IDLE
        except OSError as error:
            logger.error("the playground could not be started: %s", error)
        finally:
            self.pid = None
            self.socket.unlink(missing_ok=True)
            if self.state is not State.ABSENT:
                self.state = after

    async def _run(self, command: Sequence[str]) -> None:
        with contextlib.closing(self._listener()) as listener:
            number = listener.fileno()
            process = await asyncio.create_subprocess_exec(
                *command, str(number), *self._arguments, stdin=asyncio.subprocess.DEVNULL, pass_fds=(number,)
            )
        self.pid = process.pid
        try:
            await self._until_ended(process)
        finally:
            await _killed(process)

    def _listener(self) -> socket.socket:
        self.socket.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(os.fspath(self.socket))
        self.socket.chmod(0o600)
        listener.listen(128)
        return listener

    async def _until_ended(self, process: asyncio.subprocess.Process) -> None:
        """Ready when it answers; what is asked before that waits in the socket's queue."""
        ended = asyncio.ensure_future(process.wait())
        answers = asyncio.ensure_future(status_of(self.socket, "/"))
        try:
            await asyncio.wait({ended, answers}, timeout=_START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if not answers.done() or answers.exception():
                await asyncio.wait({ended}, timeout=_LAST_SECONDS)
                raise OSError(f"it ended with status {process.returncode}" if ended.done() else "it does not answer")
            self.state = State.READY
            logger.info("the playground is ready (process %d)", process.pid)
            await ended
            logger.warning("the playground ended with status %s; the next visit starts it again", process.returncode)
        finally:
            ended.cancel()
            answers.cancel()


def _installed() -> tuple[str, ...]:
    """The command of the playground that is installed; empty where there is none."""
    found = next(iter(entry_points(group=GROUP)), None)
    return () if found is None else (sys.executable, "-P", "-m", found.value)


async def _killed(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()
