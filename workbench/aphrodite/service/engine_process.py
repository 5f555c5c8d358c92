"""One engine process as the service sees it: started, watched, asked, started again when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import itertools
import logging
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from aphrodite.service import boundary
from aphrodite.service.boundary import Admitted, Facts, Failed, FromEngine, Problem, Stats, Token
from aphrodite.service.settings import ModelSettings

logger = logging.getLogger("aphrodite.engine_process")

PING_SECONDS = 0.5
#: No answer for so long, and the process counts as silent: no new work, /health says so.
SILENT_SECONDS = 1.5
#: A silent process that is stopped (SIGSTOP, a debugger) is killed after the first, any other after the second: a
#: machine under load may keep an honest engine waiting for seconds.
STOPPED_SECONDS = 3.0
HUNG_SECONDS = 30.0
#: A process that lived shorter than this has failed at its start; restarts then wait longer each time.
SHORT_LIFE_SECONDS = 10.0
LONGEST_WAIT_SECONDS = 30.0
#: News a caller may leave unread before its request is ended.
MAX_UNREAD_TOKENS = 4096
_CLOSE_SECONDS = 10.0

_LOST = Problem("lost", "the engine process died while this request ran and is being started again; send it again")
_SLOW = Problem(
    "slow_reader", f"the answer was not read: {MAX_UNREAD_TOKENS} tokens were waiting, so the request was ended"
)


class State(enum.Enum):
    """What an engine process is doing."""

    STARTING = "starting"
    READY = "ready"
    SILENT = "silent"
    RESTARTING = "restarting"
    ASLEEP = "asleep"
    FAILED = "failed"
    STOPPED = "stopped"


class EngineFailure(Exception):
    """A request, or a start, ended with this problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class Generation:
    """A running generation: what the engine says about it, in order."""

    def __init__(self, request_id: int, sequences: int, abort: Callable[[int], None]) -> None:
        self.id = request_id
        self._unfinished = sequences
        self._abort = abort
        self._admitted: Admitted | None = None
        self._unread: deque[Token] = deque()
        self._problem: Problem | None = None
        self._news = asyncio.Event()

    @property
    def finished(self) -> bool:
        return self._unfinished == 0 or self._problem is not None

    async def admitted(self) -> Admitted:
        """Wait until the engine has checked the request.

        Raises:
            EngineFailure: it refused.
        """
        while self._admitted is None:
            await self._wait()
        return self._admitted

    async def news(self) -> list[Token]:
        """What has come since the last call, at least one token; [] when every sequence has ended.

        Raises:
            EngineFailure: the request ended with an error.
        """
        while not self._unread:
            if self._unfinished == 0:
                return []
            await self._wait()
        found = list(self._unread)
        self._unread.clear()
        return found

    def abort(self) -> None:
        """End it, if it still runs; what is unread is forgotten."""
        if not self.finished:
            self._problem = Problem("closed", "aborted")
            self._abort(self.id)

    def put(self, message: Admitted | Token | Failed) -> None:
        """The engine's news, in the event loop."""
        if isinstance(message, Token):
            self._unread.append(message)
            self._unfinished -= message.finish_reason is not None
            if len(self._unread) > MAX_UNREAD_TOKENS and self._unfinished:
                self._unread.clear()
                self._abort(self.id)
                self._problem = _SLOW
        elif isinstance(message, Failed):
            self._problem = message.problem
        else:
            self._admitted = message
        self._news.set()

    async def _wait(self) -> None:
        if self._problem is not None:
            raise EngineFailure(self._problem)
        self._news.clear()
        await self._news.wait()
        if self._problem is not None and not self._unread:
            raise EngineFailure(self._problem)


class _Call:
    """A question with one answer."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[FromEngine] = asyncio.get_running_loop().create_future()

    def put(self, message: FromEngine | Token) -> None:
        if self.answer.done():
            return
        if isinstance(message, Failed):
            self.answer.set_exception(EngineFailure(message.problem))
        elif not isinstance(message, Token):
            self.answer.set_result(message)


class EngineProcess:
    """Supervises one engine process and carries requests to it.

    Attributes:
        facts: of the loaded model; of the last one loaded while it is asleep or restarting.
        restarts: how often it had to be started again.
        stats: as of the last answer to a ping.
    """

    def __init__(self, settings: ModelSettings, directory: Path, command: Sequence[str] = ()) -> None:
        self.settings = settings
        self.state = State.STOPPED
        self.facts: Facts | None = None
        self.stats = Stats()
        self.restarts = 0
        self.progress: tuple[int, int] = (0, 0)
        self.problem: Problem | None = None
        self._command = tuple(command) or (sys.executable, "-m", "aphrodite.service.worker")
        self._directory = directory
        self._numbers = itertools.count(1)
        self._pending: dict[int, Generation | _Call] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._supervision: asyncio.Task[None] | None = None
        self._changed = asyncio.Condition()
        self._pinged = 0.0
        self._ponged = 0.0

    # ---- life

    async def start(self) -> None:
        """Start the process and wait until the model is loaded.

        Raises:
            EngineFailure: the model was refused; nothing is left running.
        """
        if self._supervision is None or self._supervision.done():
            self.problem = None
            await self._become(State.STARTING)
            self._supervision = asyncio.create_task(self._supervise())
        async with self._changed:
            await self._changed.wait_for(lambda: self.state in (State.READY, State.FAILED, State.STOPPED, State.ASLEEP))
        if self.state is not State.READY:
            raise EngineFailure(self.problem or Problem("closed", "the engine was stopped while it started"))

    async def stop(self, state: State = State.STOPPED) -> None:
        """End the process and give its memory back; requests that still run get an error."""
        task, self._supervision = self._supervision, None
        await self._become(state)
        if task is not None:
            await self._end_process()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._fail_pending(Problem("closed", "the engine was stopped while this request ran"))

    @property
    def busy(self) -> int:
        """Requests in flight."""
        return len(self._pending)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.returncode is None else None

    async def _supervise(self) -> None:
        """Start, serve until it dies, start again."""
        short_lives = 0
        while True:
            started = time.monotonic()
            await self._one_life()
            if self.state in (State.FAILED, State.STOPPED, State.ASLEEP):
                return
            lived = time.monotonic() - started
            self.restarts += 1
            await self._become(State.RESTARTING)
            short_lives = short_lives + 1 if lived < SHORT_LIFE_SECONDS else 0
            wait = min(0.5 * 2**short_lives, LONGEST_WAIT_SECONDS) if short_lives > 1 else 0.0
            logger.error("engine process of %s died after %.1f s; starting it again", self.settings.id, lived)
            await asyncio.sleep(wait)

    async def _one_life(self) -> None:
        try:
            reader = await self._spawn()
            self._send(boundary.Open(self.settings.model, dict(self.settings.engine)))
            watch = asyncio.create_task(self._watch())
            try:
                while (message := await boundary.receive_from_engine(reader)) is not None:
                    await self._receive(message)
            finally:
                watch.cancel()
        except (OSError, ValueError, TimeoutError) as error:
            logger.error("engine process of %s: %s", self.settings.id, error)
        finally:
            await self._bury()

    async def _spawn(self) -> asyncio.StreamReader:
        """Start the process; it connects to a socket that is gone from the disk as soon as it has."""
        path = self._directory / f"engine-{os.getpid()}-{next(self._numbers)}.sock"
        connected: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = (
            asyncio.get_running_loop().create_future()
        )

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if connected.done():
                writer.close()
            else:
                connected.set_result((reader, writer))

        server = await asyncio.start_unix_server(accept, path)
        path.chmod(0o600)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, str(path), stdin=asyncio.subprocess.DEVNULL
            )
            died = asyncio.ensure_future(self._process.wait())
            await asyncio.wait({connected, died}, return_when=asyncio.FIRST_COMPLETED)
            died.cancel()
            if not connected.done():
                raise OSError(f"the engine process ended with status {self._process.returncode} before it connected")
            reader, self._writer = connected.result()
            return reader
        finally:
            server.close()
            path.unlink(missing_ok=True)

    async def _receive(self, message: FromEngine) -> None:
        if isinstance(message, boundary.Tokens):
            for token in message.tokens:
                self._hand_over(token.id, token)
        elif isinstance(message, boundary.Pong):
            self._ponged, self.stats = time.monotonic(), message.stats
            if self.state is State.SILENT:
                await self._become(State.READY)
        elif isinstance(message, boundary.Ready):
            self.facts = message.facts
            self._pinged = self._ponged = time.monotonic()
            await self._become(State.READY)
        elif isinstance(message, boundary.Progress):
            self.progress = (message.done, message.total)
        elif isinstance(message, boundary.Refused):
            self.problem = message.problem
            await self._become(State.FAILED)
        else:
            self._hand_over(message.id, message)

    def _hand_over(self, request_id: int, message: Any) -> None:
        pending = self._pending.get(request_id)
        if pending is None:
            return  # aborted, and the engine did not know yet
        pending.put(message)
        if isinstance(pending, _Call) or pending.finished:
            del self._pending[request_id]

    async def _watch(self) -> None:
        """Ask every half second; a process that does not answer is silent, then killed."""
        for number in itertools.count():
            await asyncio.sleep(PING_SECONDS)
            if self.state not in (State.READY, State.SILENT) or self._process is None:
                continue
            now = time.monotonic()
            if self._ponged >= self._pinged:
                self._pinged = now
                self._send(boundary.Ping(number))
                continue
            silence = now - self._pinged
            if silence > SILENT_SECONDS and self.state is State.READY:
                logger.warning("engine process of %s has not answered for %.1f s", self.settings.id, silence)
                await self._become(State.SILENT)
            limit = STOPPED_SECONDS if _is_stopped(self._process.pid) else HUNG_SECONDS
            if silence > limit:
                logger.error("engine process of %s has not answered for %.1f s: killing it", self.settings.id, silence)
                self._process.kill()
                return

    async def _bury(self) -> None:
        self._fail_pending(_LOST)
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self._process is not None:
            if self._process.returncode is None and self.state not in (State.FAILED, State.STOPPED, State.ASLEEP):
                with contextlib.suppress(ProcessLookupError):
                    self._process.kill()
            await self._process.wait()

    async def _end_process(self) -> None:
        """Ask it to close, then insist."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        self._send(boundary.Close())
        try:
            await asyncio.wait_for(process.wait(), _CLOSE_SECONDS)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _become(self, state: State) -> None:
        async with self._changed:
            self.state = state
            self._changed.notify_all()

    def _fail_pending(self, problem: Problem) -> None:
        pending, self._pending = self._pending, {}
        for request_id, waiting in pending.items():
            waiting.put(Failed(request_id, problem))

    # ---- requests

    def generate(self, message: boundary.Generate) -> Generation:
        """Start a generation; `message.id` is given here."""
        message.id = next(self._numbers)
        generation = Generation(message.id, int(message.params.get("n", 1)), self._abort)
        self._pending[message.id] = generation
        self._send(message)
        return generation

    async def call(self, message: boundary.Embed | boundary.Tokenize | boundary.Detokenize) -> Any:
        """Ask a question that has one answer.

        Raises:
            EngineFailure: the engine refused, or died.
        """
        message.id = next(self._numbers)
        call = self._pending[message.id] = _Call()
        self._send(message)
        try:
            return await call.answer
        finally:
            self._pending.pop(message.id, None)

    def _abort(self, request_id: int) -> None:
        if self._pending.pop(request_id, None) is not None:
            self._send(boundary.Abort(request_id))

    def _send(self, message: boundary.ToEngine) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(boundary.frame(message))


def _is_stopped(pid: int) -> bool:
    """Whether the kernel has stopped the process (state T or t in /proc)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] in ("T", "t")
