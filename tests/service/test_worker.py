"""The engine process and the service's hold on it, each by itself."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aphrodite.service.access import User
from aphrodite.service.engines import boundary
from aphrodite.service.engines.boundary import Token
from aphrodite.service.engines.child import Child, _killed
from aphrodite.service.engines.engine_process import EngineProcess, State
from aphrodite.service.engines.outbox import Outbox
from aphrodite.service.generation import MAX_UNREAD_TOKENS, EngineFailure, Generation
from aphrodite.service.settings import ModelSettings
from experiments.serving.null_worker import facts
from tests.service import faulty_worker
from tests.service.processes import alive

WORKER = (sys.executable, "-m", "aphrodite.service.engines.worker")


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="aph-") as name:  # short: Unix sockets have short paths
        yield Path(name)


def unobserved(*_: Any) -> Callable[[Any], None]:
    return lambda _: None


def engine(folder: Path, fault: str = "loads-well") -> EngineProcess:
    return EngineProcess(ModelSettings(fault), folder, unobserved, faulty_worker.COMMAND, hung_seconds=1.0)


def token(place: int, last: bool = False) -> Token:
    return Token(1, 0, f"{place} ", (place,), "stop" if last else None)


# ---- what a caller holds


def generation(aborted: list[int]) -> Generation:
    return Generation(1, 1, aborted.append, lambda _: None, User())


def test_an_answer_that_nobody_reads_is_ended() -> None:
    async def unread() -> None:
        aborted: list[int] = []
        unread = generation(aborted)
        for place in range(MAX_UNREAD_TOKENS + 1):
            unread.put([token(place)])
        assert aborted == [1]
        with pytest.raises(EngineFailure) as caught:
            await unread.news()
        assert caught.value.problem.kind == "slow_reader"

    asyncio.run(unread())


def test_what_came_before_an_error_is_read_before_it() -> None:
    async def read() -> None:
        failing = generation([])
        failing.put([token(0)])
        failing.put(boundary.Failed(1, boundary.Problem("lost", "gone")))
        assert [found.text for found in await failing.news()] == ["0 "]
        with pytest.raises(EngineFailure, match="gone"):
            await failing.news()

    asyncio.run(read())


def test_an_abort_from_elsewhere_wakes_the_reader() -> None:
    async def aborted() -> None:
        waiting = generation([])
        reader = asyncio.create_task(waiting.news())
        await asyncio.sleep(0)
        waiting.abort()
        with pytest.raises(EngineFailure, match="aborted"):
            await asyncio.wait_for(reader, 1)

    asyncio.run(aborted())


# ---- the outbox


def test_the_outbox_keeps_the_order_and_sends_piled_up_tokens_together() -> None:
    ours, theirs = socket.socketpair()
    outbox = Outbox(theirs)
    for place in range(3000):
        outbox.put(token(place))
    outbox.put(boundary.Text(7, "after"))
    outbox.put(token(3000, last=True))
    outbox.close()
    theirs.close()
    messages = asyncio.run(_all_messages(ours))
    seen = [found for message in messages if isinstance(message, boundary.Tokens) for found in message.tokens]
    assert [found.token_ids[0] for found in seen] == list(range(3001))
    assert isinstance(messages[-2], boundary.Text)
    assert len(messages) < 200
    ours.close()


async def _all_messages(connection: socket.socket) -> list[boundary.FromEngine]:
    reader, writer = await asyncio.open_connection(sock=connection)
    messages = []
    while (message := await boundary.receive_from_engine(reader)) is not None:
        messages.append(message)
    writer.close()
    await writer.wait_closed()
    return messages


# ---- the service's hold on an engine process


def run(folder: Path, work: Callable[[EngineProcess], Awaitable[None]], fault: str = "loads-well") -> None:
    async def with_engine() -> None:
        process = engine(folder, fault)
        try:
            await work(process)
        finally:
            await process.stop()
        assert process.pid is None
        assert list(folder.iterdir()) == []

    asyncio.run(with_engine())


def test_a_request_for_an_engine_that_is_not_there_fails_at_once(folder: Path) -> None:
    async def ask(process: EngineProcess) -> None:
        for _ in range(2):
            with pytest.raises(EngineFailure, match="again in a moment"):
                process.generate(boundary.Generate(0, {}, "x"), User())
            with pytest.raises(EngineFailure):
                await process.call(boundary.Detokenize(0, [1]))
            await process.start()
            await process.stop(State.ASLEEP)
        assert process.busy == 0

    run(folder, ask)


def test_requests_that_run_when_it_is_stopped_get_an_error(folder: Path) -> None:
    async def ask(process: EngineProcess) -> None:
        await process.start()
        running = process.generate(boundary.Generate(0, {}, "x"), User())
        question = asyncio.create_task(process.call(boundary.Detokenize(0, [1])))
        await asyncio.sleep(0.05)
        assert process.busy == 2
        await asyncio.gather(process.stop(), process.stop())
        for waiting in (running.admitted(), question):
            with pytest.raises(EngineFailure, match="stopped while this request ran"):
                await waiting
        assert process.busy == 0

    run(folder, ask)


def test_a_question_that_is_cancelled_is_forgotten(folder: Path) -> None:
    async def ask(process: EngineProcess) -> None:
        await process.start()
        question = asyncio.create_task(process.call(boundary.Detokenize(0, [1])))
        await asyncio.sleep(0.05)
        question.cancel()
        await asyncio.wait({question})
        assert process.busy == 0

    run(folder, ask)


def test_stopping_while_it_starts_leaves_nothing(folder: Path) -> None:
    async def stop_early(process: EngineProcess) -> None:
        for wait in (0.0, 0.02, 0.2, 0.4):
            starting = asyncio.create_task(process.start())
            await asyncio.sleep(wait)
            await process.stop(State.ASLEEP)
            with contextlib.suppress(EngineFailure):  # on a quick machine it was ready
                await starting
            assert (process.state, process.pid) == (State.ASLEEP, None)
        await process.start()
        assert process.state is State.READY

    run(folder, stop_early)


def test_one_that_dies_while_loading_is_not_started_again(folder: Path) -> None:
    async def start(process: EngineProcess) -> None:
        with pytest.raises(EngineFailure, match="while it loaded"):
            await process.start()
        assert process.restarts == 0
        assert process.progress == (1, 2)

    run(folder, start, "dies-while-loading")


def test_one_that_answers_but_hangs_in_a_step_is_started_again(folder: Path) -> None:
    async def hang(process: EngineProcess) -> None:
        await process.start()
        hanging = process.pid
        running = process.generate(boundary.Generate(0, {}, "x"), User())
        with pytest.raises(EngineFailure, match="died while this request ran"):
            await asyncio.wait_for(running.admitted(), 10)
        while process.state is not State.READY:
            await asyncio.sleep(0.02)
        assert (process.restarts, process.stats.step_seconds) == (1, 0.0)
        assert process.pid != hanging and not alive(hanging or 0)

    run(folder, hang, "hangs-in-a-step")


def test_a_step_of_many_tokens_may_take_longer(folder: Path) -> None:
    process = engine(folder)
    process.facts = msgspec.structs.replace(facts("x"), plan={"weight_bytes": 8 * 10**9})
    process.stats.step_tokens = 500
    assert process._longest_step() == pytest.approx(1001)


def test_a_process_that_has_just_ended_is_not_asked_twice_how(folder: Path) -> None:
    """asyncio's own kill() may take the exit status away from whoever waits for it, who then gets 255."""

    async def ends(process: asyncio.subprocess.Process) -> int | None:
        time.sleep(0.0012)  # about as long as `true` runs
        await _killed(process)
        return process.returncode

    async def often() -> set[int | None]:
        return {await ends(await asyncio.create_subprocess_exec("true")) for _ in range(200)}

    assert asyncio.run(often()) <= {0, -signal.SIGKILL}


# ---- the process itself


@pytest.mark.slow
def test_the_engine_process_tells_its_progress_ignores_signals_and_ends_with_its_connection(folder: Path) -> None:
    async def live() -> None:
        child = await Child.start(WORKER, folder)
        assert list(folder.iterdir()) == []  # the socket is gone from the disk
        child.send(boundary.Open("demo", {"kv_cache_memory": 2**24}))
        child.send(boundary.Ping(7))
        seen: list[Any] = []
        while not seen or not isinstance(seen[-1], boundary.Ready):
            seen.append(await asyncio.wait_for(child.receive(), 60))
        progress = [message for message in seen if isinstance(message, boundary.Progress)]
        assert progress and progress[-1].done == progress[-1].total > 10**6
        assert isinstance(seen[0], boundary.Pong) and seen[0].number == 7  # it is there while it loads
        assert isinstance(seen[-2], boundary.Pong) and seen[-2].stats.resident_bytes > 10**8
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(child.pid, number)
        child.send(boundary.Generate(1, {"max_tokens": 100_000, "ignore_eos": True}, "Once"))
        child.send(boundary.Abort(1))
        while not isinstance(answer := await asyncio.wait_for(child.receive(), 30), boundary.Failed | boundary.Tokens):
            pass
        child.send(boundary.Ping(8))
        while not isinstance(answer := await asyncio.wait_for(child.receive(), 30), boundary.Pong):
            pass
        assert answer.stats.running <= 1
        pid = child.pid
        child._writer.close()
        await asyncio.sleep(1.5)
        assert not alive(pid)
        assert await child.end() == "ended with status 0"

    asyncio.run(live())


@pytest.mark.slow
def test_an_abort_ends_a_request_whenever_it_comes(folder: Path) -> None:
    async def live() -> None:
        child = await Child.start(WORKER, folder)
        child.send(boundary.Open("demo", {"kv_cache_memory": 2**24}))
        while not isinstance(await asyncio.wait_for(child.receive(), 60), boundary.Ready):
            pass
        for number in range(60):
            child.send(boundary.Generate(number, {"max_tokens": 1900, "ignore_eos": True, "seed": 1}, "Once upon"))
            await asyncio.sleep(0.0005 * (number % 10))
            child.send(boundary.Abort(number))
        await asyncio.sleep(1.0)
        child.send(boundary.Ping(1))
        while not isinstance(answer := await asyncio.wait_for(child.receive(), 30), boundary.Pong):
            pass
        assert (answer.stats.running, answer.stats.waiting, answer.stats.kv_blocks_used) == (0, 0, 0)
        assert await child.end(5) == "ended with status 0"

    asyncio.run(live())
