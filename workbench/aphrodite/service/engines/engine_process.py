"""One model's engine process as the service sees it: started, watched, asked, started again when it dies."""

from __future__ import annotations

import asyncio
import contextvars
import enum
import itertools
import logging
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from aphrodite.service.access import User
from aphrodite.service.engines import boundary
from aphrodite.service.engines.boundary import Facts, Failed, FromEngine, Problem, Stats, Token
from aphrodite.service.engines.child import Child
from aphrodite.service.generation import EngineFailure, Generation, News, Observer, Question, Sink
from aphrodite.service.settings import ModelSettings

logger = logging.getLogger("aphrodite.engine_process")

PING_SECONDS = 0.25
#: No answer for so long, or stopped (SIGSTOP, a debugger), and it counts as silent: no new work, /health says so.
SILENT_SECONDS = 1.25
#: A silent process that is stopped is killed after this, any other after `hung_seconds`: a machine under load may keep
#: an honest engine waiting for seconds.
STOPPED_SECONDS = 2.5
#: Weight bytes times tokens that the slowest machine does in a second: a step of 512 tokens of a model of 14 GB may
#: take half an hour, where two CPU cores need minutes.
SLOWEST_BYTE_TOKENS = 4e9
#: A process that could work for less than this has failed at its start; restarts then wait longer each time.
SHORT_LIFE_SECONDS = 10.0
LONGEST_WAIT_SECONDS = 30.0
#: What may wait to be read by the engine process before new requests are refused.
MAX_UNSENT_BYTES = 64 * 2**20
_CLOSE_SECONDS = 5.0

_LOST = Problem("lost", "the engine process died while this request ran and is being started again; send it again")
_NOT_NOW = Problem("lost", "the engine process is being started again; send the request again in a moment")
_BUSY = Problem("lost", "the engine has more unread requests than it may hold; send this one again in a moment")
_STOPPED = Problem("closed", "the engine was stopped while this request ran")
_STOPPED_EARLY = Problem("closed", "the engine was stopped while it started")


class State(enum.Enum):
    """What an engine process is doing."""

    STARTING = "starting"
    READY = "ready"
    SILENT = "silent"
    RESTARTING = "restarting"
    ASLEEP = "asleep"
    STOPPED = "stopped"


class EngineProcess:
    """Supervises one engine process and carries requests to it.

    One task owns the process from start to end; everything else only sends, or cancels that task.

    Attributes:
        facts: of the loaded model; of the last one loaded while it is asleep or restarting.
        stats: as of the last answer to a ping.
        progress: bytes of weights read, of how many.
        restarts: how often it had to be started again.
        problem: why it is not running: the last refusal or death; None while all is well.
    """

    def __init__(
        self,
        settings: ModelSettings,
        directory: Path,
        observer: Observer,
        command: Sequence[str] = (),
        reserved: Callable[[EngineProcess], int] = lambda _: 0,
        hung_seconds: float = 30.0,
    ) -> None:
        self.settings = settings
        self.state = State.STARTING
        self.facts: Facts | None = None
        self.stats = Stats()
        self.progress: tuple[int, int] = (0, 0)
        self.restarts = 0
        self.problem: Problem | None = None
        self._command = tuple(command) or (sys.executable, "-P", "-m", "aphrodite.service.engines.worker")
        self._directory, self._reserved, self._observer = directory, reserved, observer
        self._hung_seconds = hung_seconds
        self._numbers = itertools.count(1)
        self._pending: dict[int, Generation | Question] = {}
        self._child: Child | None = None
        self._supervision: asyncio.Task[Problem] | None = None
        self._ready_since: float | None = None
        self._unanswered = 0

    @property
    def busy(self) -> int:
        """Requests in flight."""
        return len(self._pending)

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child else None

    @property
    def untouched_bytes(self) -> int:
        """Memory that its plan names and that it has not taken yet; on a GPU all is taken at the start."""
        if self.state in (State.ASLEEP, State.STOPPED) or self.facts is None or self.facts.device != "cpu":
            return 0
        planned = sum(self.facts.plan.get(part, 0) for part in ("weight_bytes", "kv_bytes", "activation_bytes"))
        return max(0, planned - self.stats.resident_bytes)

    # ---- life

    async def start(self) -> None:
        """Start the process and wait until the model is loaded.

        Raises:
            EngineFailure: the model was refused, or its process died; nothing is left running, the state is as before.
        """
        if self._supervision is not None:
            await asyncio.wait({self._supervision})
        loaded: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.problem, self.progress = None, (0, 0)
        before, self.state = self.state, State.STARTING
        # In a context of its own: what the log says later is not part of the request that loaded the model.
        supervision = asyncio.create_task(self._supervise(loaded), context=contextvars.Context())
        self._supervision = supervision
        await asyncio.wait({loaded, supervision}, return_when=asyncio.FIRST_COMPLETED)
        if loaded.done():
            return
        self.problem = _STOPPED_EARLY if supervision.cancelled() else supervision.result()
        if self.state is State.STARTING:  # not stopped meanwhile
            self.state = before
        raise EngineFailure(self.problem)

    async def stop(self, state: State = State.STOPPED) -> None:
        """End the process and give its memory back; requests that still run get an error at once."""
        ending = self.state in (State.ASLEEP, State.STOPPED)
        self.state = state
        self._fail_pending(_STOPPED)
        if self._supervision is not None:
            if not ending:
                self._supervision.cancel()
            await asyncio.wait({self._supervision})

    async def _supervise(self, loaded: asyncio.Future[None]) -> Problem:
        """Start, serve until it dies, start again: a model that was loaded once is tried until it is back.

        Returns only where it was not loaded the first time: why not.
        """
        short_lives = 0
        try:
            while True:
                problem = await self._one_life(loaded)
                if not loaded.done():
                    return problem
                lived = time.monotonic() - self._ready_since if self._ready_since else 0.0
                short_lives = short_lives + 1 if lived < SHORT_LIFE_SECONDS else 0
                wait = min(2.0 ** (short_lives - 2), LONGEST_WAIT_SECONDS) if short_lives > 1 else 0.0
                logger.error("%s: %s; starting it again in %.0f s", self.settings.id, problem.message, wait)
                self.restarts += 1
                self.problem = problem
                await asyncio.sleep(wait)
        finally:
            self.stats = Stats()

    async def _one_life(self, loaded: asyncio.Future[None]) -> Problem:
        """From the start of a process to its end; why it ended."""
        self._ready_since, self._unanswered, self.stats = None, 0, Stats()
        try:
            child = await Child.start(self._command, self._directory)
        except (OSError, TimeoutError) as error:
            return Problem("died", str(error) or "the engine process did not connect")
        self._child, patience = child, 0.0
        watch = asyncio.create_task(self._watch(child))
        try:
            child.send(boundary.Open(self.settings.model, self._engine_settings(), self.settings.id))
            return await self._listen(child, loaded)
        except asyncio.CancelledError:
            patience = _CLOSE_SECONDS if self._ready_since else 0.0  # one that still loads has nothing to finish
            raise
        except Exception:  # outermost frame of a life: whatever was wrong with it, the next one may be well
            logger.exception("the engine process of %s could not be listened to", self.settings.id)
            return Problem("died", "the service could not understand the engine process; the log says more")
        finally:
            watch.cancel()
            self._child = None
            if self.state in (State.READY, State.SILENT):
                self.state = State.RESTARTING
            self._fail_pending(_LOST)
            await child.end(patience)

    async def _listen(self, child: Child, loaded: asyncio.Future[None]) -> Problem:
        """Take what the process says until it ends; why it did."""
        while (message := await child.receive()) is not None:
            if isinstance(message, boundary.Refused):
                return message.problem
            if isinstance(message, boundary.Ready):
                self._is_ready(message.facts)
                if not loaded.done():
                    loaded.set_result(None)
            else:
                self._take(message)
        doing = "" if self._ready_since else " while it loaded the model"
        return Problem("died", f"the engine process {await child.end()}{doing}; the log may say more")

    def _is_ready(self, facts: Facts) -> None:
        self.facts, self.problem, self.state = facts, None, State.READY
        self._ready_since, self._unanswered = time.monotonic(), 0

    def _take(self, message: FromEngine) -> None:
        if isinstance(message, boundary.Tokens):
            for request_id, tokens in _by_request(message.tokens).items():
                self._hand_over(request_id, tokens)
        elif isinstance(message, boundary.Pong):
            self._unanswered, self.stats = 0, message.stats
            if self.state is State.SILENT:
                self.state = State.READY
        elif isinstance(message, boundary.Progress):
            self.progress = (message.done, message.total)
        elif not isinstance(message, boundary.Ready | boundary.Refused):
            self._hand_over(message.id, message)

    def _hand_over(self, request_id: int, news: News) -> None:
        pending = self._pending.get(request_id)
        if pending is None:
            return  # aborted, and the engine did not know yet
        pending.put(news)
        if pending.finished:
            self._pending.pop(request_id, None)

    async def _watch(self, child: Child) -> None:
        """Ask four times a second; a process that does not answer is silent, then killed; so is one hanging in a step.

        Silence is counted in questions, not on the clock: a service that was itself stopped for a minute has not
        listened either.
        """
        for number in itertools.count():
            await asyncio.sleep(PING_SECONDS)
            if self._unanswered == 0:
                child.send(boundary.Ping(number))
            self._unanswered += 1
            silence, stopped = (self._unanswered - 1) * PING_SECONDS, child.is_stopped
            if self.state is State.READY and silence >= (PING_SECONDS if stopped else SILENT_SECONDS):
                logger.warning("the engine process of %s does not answer", self.settings.id)
                self.state = State.SILENT
            if silence >= (STOPPED_SECONDS if stopped else self._hung_seconds) and (stopped or self._ready_since):
                logger.error("the engine process of %s was silent for %.1f s: killing it", self.settings.id, silence)
                child.kill()
                return
            if self.stats.step_seconds > self._longest_step():
                seconds, tokens = self.stats.step_seconds, self.stats.step_tokens
                logger.error(
                    "the engine of %s has been in one step for %.1f s (%d tokens): killing its process",
                    self.settings.id, seconds, tokens,
                )  # fmt: skip
                child.kill()
                return

    def _longest_step(self) -> float:
        """Seconds that the step in progress may take: what says nothing for longer, and computes nothing, hangs."""
        weight_bytes = self.facts.plan.get("weight_bytes", 0) if self.facts else 0
        return self._hung_seconds + self.stats.step_tokens * weight_bytes / SLOWEST_BYTE_TOKENS

    def _engine_settings(self) -> dict[str, Any]:
        settings, reserved = dict(self.settings.engine), self._reserved(self)
        if reserved:
            settings["reserved_memory"] = settings.get("reserved_memory", 0) + reserved
        return settings

    def _fail_pending(self, problem: Problem) -> None:
        pending, self._pending = self._pending, {}
        for request_id, waiting in pending.items():
            waiting.put(Failed(request_id, problem))

    # ---- requests

    def generate(self, message: boundary.Generate, user: User) -> Generation:
        """Start a generation; `message.id` is given here.

        Raises:
            EngineFailure: the engine cannot take it now.
        """
        child = self._able()
        message.id = next(self._numbers)
        observed = self._observer(self.settings.id, user, message)
        generation = Generation(message.id, int(message.params.get("n", 1)), self._abort, observed, user)
        _send(child, message)
        self._pending[message.id] = generation
        return generation

    async def embed(self, message: boundary.Embed, user: User) -> boundary.Vectors:
        """Vectors of texts; cancelling the task aborts it.

        Raises:
            EngineFailure: as `call`.
        """
        return await self._ask(message, self._observer(self.settings.id, user, message))

    async def call(self, message: boundary.Tokenize | boundary.Detokenize) -> Any:
        """Ask a question that costs no step of the engine; cancelling the task aborts it.

        Raises:
            EngineFailure: the engine refused, died, or cannot take it now.
        """
        return await self._ask(message, lambda _: None)

    async def _ask(self, message: boundary.Embed | boundary.Tokenize | boundary.Detokenize, observed: Sink) -> Any:
        child = self._able()
        message.id = next(self._numbers)
        _send(child, message)
        question = self._pending[message.id] = Question(observed)
        try:
            return await question.answer
        finally:
            self._abort(message.id)

    def _able(self) -> Child:
        if self._child is None or self._ready_since is None:
            raise EngineFailure(_NOT_NOW)
        if self._child.unsent_bytes > MAX_UNSENT_BYTES:
            raise EngineFailure(_BUSY)
        return self._child

    def _abort(self, request_id: int) -> None:
        """Forget a request, and tell the engine if it is still at it."""
        if self._pending.pop(request_id, None) is not None and self._child is not None:
            self._child.send(boundary.Abort(request_id))


def _by_request(tokens: Iterable[Token]) -> dict[int, list[Token]]:
    """What each is told at once."""
    found: dict[int, list[Token]] = {}
    for token in tokens:
        if token.id in found:
            found[token.id].append(token)
        else:
            found[token.id] = [token]
    return found


def _send(child: Child, message: boundary.ToEngine) -> None:
    """Pass a request on.

    Raises:
        EngineFailure: it holds what no message can: an integer beyond 64 bits, or more than a frame.
    """
    try:
        child.send(message)
    except (OverflowError, ValueError) as error:
        raise EngineFailure(Problem("parameter", f"the request cannot be passed to the engine: {error}")) from error
