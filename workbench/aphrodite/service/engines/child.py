"""One engine process from its start to its end, and the connection to it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from aphrodite.service.engines import boundary
from aphrodite.service.engines.boundary import FromEngine, ToEngine

_CONNECT_SECONDS = 60.0
#: What the connection reads ahead; large answers come in pieces of it.
_READ_AHEAD_BYTES = 2**20
_numbers = itertools.count(1)

_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Child:
    """A running engine process; whoever starts one awaits `end`."""

    def __init__(self, process: asyncio.subprocess.Process, streams: _Streams) -> None:
        self._process = process
        self._reader, self._writer = streams

    @classmethod
    async def start(cls, command: Sequence[str], directory: Path) -> Child:
        """Start the process; it connects to a socket that is gone from the disk as soon as it has.

        Raises:
            OSError: it could not be started, or ended before it connected.
            TimeoutError: it did not connect.
        """
        path = directory / f"engine-{os.getpid()}-{next(_numbers)}.sock"
        connected: asyncio.Future[_Streams] = asyncio.get_running_loop().create_future()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if connected.done():
                writer.close()
            else:
                connected.set_result((reader, writer))

        server = await asyncio.start_unix_server(accept, path, limit=_READ_AHEAD_BYTES)
        process = None
        try:
            path.chmod(0o600)
            process = await asyncio.create_subprocess_exec(*command, str(path), stdin=asyncio.subprocess.DEVNULL)
            async with asyncio.timeout(_CONNECT_SECONDS):
                return cls(process, await _first(connected, process))
        except BaseException:
            if process is not None:
                await _killed(process)
            raise
        finally:
            server.close()
            path.unlink(missing_ok=True)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def unsent_bytes(self) -> int:
        """What it has not taken yet."""
        return self._writer.transport.get_write_buffer_size()

    @property
    def is_stopped(self) -> bool:
        """Whether the kernel has stopped it (SIGSTOP, a debugger): state T or t in /proc."""
        try:
            stat = Path(f"/proc/{self.pid}/stat").read_text()
        except OSError:
            return False
        return stat.rpartition(")")[2].split()[0] in ("T", "t")

    def send(self, message: ToEngine) -> None:
        """Queue a message; one for a process that is gone is dropped, and receive() tells that it is gone.

        Raises:
            ValueError: it is too large for a frame.
        """
        data = boundary.frame(message)
        if not self._writer.is_closing():
            self._writer.write(data)

    async def receive(self) -> FromEngine | None:
        """The next message; None when the process has ended, or closed its end.

        Raises:
            ValueError, msgspec.DecodeError: what came is no message.
        """
        return await boundary.receive_from_engine(self._reader)

    def kill(self) -> None:
        """SIGKILL; also ends a process that is stopped."""
        _kill(self._process)

    async def end(self, patience: float = 0.0) -> str:
        """Ask it to close, wait that many seconds, then kill it; how it ended, in words."""
        try:
            if patience:
                self.send(boundary.Close())
                await asyncio.wait_for(self._process.wait(), patience)
        except TimeoutError:
            pass  # it is killed below
        finally:
            self._writer.close()
            await _killed(self._process)
        return _in_words(self._process.returncode)


async def _first(connected: asyncio.Future[_Streams], process: asyncio.subprocess.Process) -> _Streams:
    died = asyncio.ensure_future(process.wait())
    try:
        await asyncio.wait({connected, died}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        died.cancel()
    if not connected.done():
        raise OSError(f"the engine process {_in_words(process.returncode)} before it connected")
    return connected.result()


async def _killed(process: asyncio.subprocess.Process) -> None:
    _kill(process)
    await process.wait()


def _kill(process: asyncio.subprocess.Process) -> None:
    # process.kill() first looks whether it has ended, and so may take its exit status away from asyncio's own watcher,
    # which then makes one up: 255 (https://github.com/python/cpython/issues/127049, up to Python 3.12).
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


def _in_words(returncode: int | None) -> str:
    if returncode is None or returncode >= 0:
        return f"ended with status {returncode}"
    try:
        return f"was ended by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"was ended by signal {-returncode}"
