"""Files run out: every connection is one."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.running import Running, running, wait_for
from tests.service.wire_client import Wire, request

QUESTION = {"model": "demo", "messages": [{"role": "user", "content": "What is 39 + 48?"}], "temperature": 0}


@pytest.fixture(scope="module")
def starved() -> Iterator[Running]:
    """A service that may have 64 files open."""
    with running(under=("prlimit", "--nofile=64:64")) as found:
        yield found


def _cpu_seconds(service: Running) -> float:
    fields = Path(f"/proc/{service.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_fault_38_no_files_left_is_told_and_is_no_crash_loop(starved: Running) -> None:
    engine = starved.engine_pid()
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Wire(starved)) for _ in range(200)]
        for wire in wires:
            with contextlib.suppress(ConnectionError):
                wire.send(request("/health"))
        answers = [wire.answer() for wire in wires]
        statuses = [answer.status for answer in answers if answer is not None]
        assert statuses.count(200) >= 4
        refused = [answer for answer in answers if answer is not None and answer.status == 503]
        assert refused and all(answer.headers["retry-after"] for answer in refused)
        assert refused[0].error["code"] == "too_many_connections"
        assert set(statuses) == {200, 503}
        before = _cpu_seconds(starved)
        time.sleep(1)
        assert _cpu_seconds(starved) - before < 0.5  # it does not spin on a socket that it cannot accept
    with starved.client() as client:
        wait_for(lambda: client.get("/health").status_code == 200, 5)
        answer = client.post("/v1/chat/completions", json=QUESTION)
        assert answer.json()["choices"][0]["message"]["content"] == "87"
    assert starved.process.poll() is None and starved.engine_pid() == engine
    assert "Traceback" not in starved.log and len(starved.log) < 200_000


def test_fault_38_an_engine_that_dies_meanwhile_comes_back(starved: Running) -> None:
    engine = starved.engine_pid()
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(Wire(starved))
        os.kill(engine, 9)
        time.sleep(0.5)
    wait_for(lambda: _has_new_engine(starved, engine), 60)


def _has_new_engine(service: Running, old: int) -> bool:
    with service.client() as client:
        return client.get("/health").status_code == 200 and service.engine_pid() != old
