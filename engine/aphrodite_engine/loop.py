"""The thread that owns an engine: commands in, events out to whoever asked."""

from __future__ import annotations

import logging
import queue
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from aphrodite_engine.engine import Engine
from aphrodite_engine.errors import EngineClosedError
from aphrodite_engine.outputs import TokenEvent
from aphrodite_engine.request import Request
from aphrodite_engine.running.current_device import current

logger = logging.getLogger(__name__)

Sink = Callable[[TokenEvent], None]


@dataclass(frozen=True)
class _Submit:
    request: Request
    sink: Sink


@dataclass(frozen=True)
class _Abort:
    request_id: str


@dataclass(frozen=True)
class _Call:
    work: Callable[[Engine], list[TokenEvent]]
    done: Future[None] = field(default_factory=Future)


class _Stop:
    """Ends the thread after the step in progress."""


Command = _Submit | _Abort | _Call | _Stop


class EngineLoop:
    """Runs an engine in a thread of its own, so that callers can wait, be interrupted, and go away.

    A daemon thread: while it waits for work, it does not keep an interpreter from ending. Whoever owns the loop calls
    stop() before that, since a thread that is killed in the middle of a step takes the process down with it.
    """

    def __init__(self, engine: Engine) -> None:
        self._inbox: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._closed = False
        self._closing = threading.Lock()
        self._thread = threading.Thread(target=_run, args=(engine, self._inbox), name="aphrodite-engine", daemon=True)
        self._thread.start()

    def submit(self, request: Request, sink: Sink) -> None:
        """Queue a request; `sink` is called in the engine's thread with each of its events, so it must not block.

        Raises:
            EngineClosedError: after close().
        """
        self._put(_Submit(request, sink))

    def abort(self, request_id: str) -> None:
        """End a request before the next step; its sink gets one last event for each unfinished sequence."""
        self._inbox.put(_Abort(request_id))

    def call(self, work: Callable[[Engine], list[TokenEvent]]) -> None:
        """Do something with the engine, in its thread and between two steps, and wait for it; events go to their sinks.

        Raises:
            EngineClosedError: after close(); otherwise what `work` raises.
        """
        command = _Call(work)
        self._put(command)
        command.done.result()

    def stop(self) -> None:
        """End the thread; requests still running get an error event. May be called twice."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._inbox.put(_Stop())
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _put(self, command: _Submit | _Call) -> None:
        with self._closing:  # behind a _Stop nobody would answer
            if self._closed:
                raise EngineClosedError("this engine was closed; create a new LLM")
            self._inbox.put(command)


def _run(engine: Engine, inbox: queue.SimpleQueue[Command]) -> None:
    """The engine's thread. A module function, so that the thread does not keep its owner alive."""
    with current(engine.runner.device):
        _serve(engine, inbox)


def _serve(engine: Engine, inbox: queue.SimpleQueue[Command]) -> None:
    """Outermost loop of the thread."""
    sinks: dict[str, Sink] = {}
    while True:
        for command in _commands(inbox, wait=not engine.has_work):
            if isinstance(command, _Stop):
                closed = EngineClosedError("the engine was closed while this request ran")
                _deliver(engine.fail_all(closed), sinks, engine)
                return
            if isinstance(command, _Submit):
                _submit(command, sinks, engine)
            elif isinstance(command, _Call):
                _call(command, sinks, engine)
            else:
                _deliver(engine.abort(command.request_id), sinks, engine)
        try:
            events = engine.step()
        except Exception as error:  # the thread's outermost loop: the step's requests fail, the engine goes on
            logger.error("a step failed; its requests end with this error: %r", error)
            events = engine.fail_step(_detached(error))
        _deliver(events, sinks, engine)


def _submit(command: _Submit, sinks: dict[str, Sink], engine: Engine) -> None:
    request = command.request
    try:
        events = engine.add(request)
    except Exception as error:  # again the outermost loop: one request that cannot start must not end the others
        logger.error("%s could not start: %r", request.request_id, error)
        command.sink(TokenEvent(request.request_id, 0, request.seed, finish_reason="error", error=_detached(error)))
    else:
        sinks[request.request_id] = command.sink
        _deliver(events, sinks, engine)


def _call(command: _Call, sinks: dict[str, Sink], engine: Engine) -> None:
    try:
        _deliver(command.work(engine), sinks, engine)
    except Exception as error:  # whoever called gets it
        command.done.set_exception(_detached(error))
    else:
        command.done.set_result(None)


def _detached(error: BaseException) -> BaseException:
    """The error with its traceback as a note instead of frames.

    Frames would keep the model in memory for as long as somebody keeps the error, as a notebook does (sys.last_value).
    """
    lines = "".join(traceback.format_exception(error))
    step: BaseException | None = error
    while step is not None:
        step.__traceback__, step = None, step.__cause__ or step.__context__
    error.add_note(f"In the engine's thread:\n{lines}")
    return error


def _commands(inbox: queue.SimpleQueue[Command], *, wait: bool) -> list[Command]:
    commands = [inbox.get()] if wait else []
    while True:
        try:
            commands.append(inbox.get_nowait())
        except queue.Empty:
            return commands


def _deliver(events: list[TokenEvent], sinks: dict[str, Sink], engine: Engine) -> None:
    for event in events:
        sinks[event.request_id](event)
    for request_id in {event.request_id for event in events if event.finish_reason is not None}:
        if not engine.is_running(request_id):
            del sinks[request_id]
