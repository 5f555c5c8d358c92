"""What is wrong with sampling fields is said within two seconds, by name, and nobody else waits for it."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest

from aphrodite_engine.errors import ParameterError
from aphrodite_engine.llm import LLM
from aphrodite_engine.params import SamplingParams
from tests.service.bad_sampler_cases import ALL, Case
from tests.service.running import Running, wait_for
from tests.service.sampling_cases import params_of

SECONDS = 2.0
#: Between two tokens of somebody else: a token takes milliseconds, a bad request up to two seconds.
GAP_SECONDS = 1.0
#: A busy machine stops anybody for a second now and then; what is slow by itself is slow each time.
ATTEMPTS = 12
STORY = "Once upon a time"
_ENDLESS: dict[str, Any] = {"max_tokens": 1900, "ignore_eos": True}
_numbers = itertools.count()


class Neighbour:
    """Somebody who streams all the time, and how long it waited between two tokens."""

    def __init__(self, stream: Callable[[], Iterator[object]]) -> None:
        self._stream, self._ended = stream, threading.Event()
        self._times = [time.monotonic()]
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def gap_since(self, started: float) -> float:
        """The longest wait that ended after `started`, once at least two more tokens have come."""
        deadline = time.monotonic() + 30
        seen = len(self._times)
        while len(self._times) < seen + 2 and time.monotonic() < deadline:
            time.sleep(0.005)
        pairs = itertools.pairwise(self._times[:])
        return max(after - before for before, after in pairs if after > started)

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _read(self) -> None:
        while not self._ended.is_set():
            for _ in self._stream():
                self._times.append(time.monotonic())
                if self._ended.is_set():
                    return


@contextmanager
def neighbour(stream: Callable[[], Iterator[object]]) -> Iterator[Neighbour]:
    found = Neighbour(stream)
    try:
        yield found
    finally:
        found.end()


def in_time(beside: Neighbour, case: Case, warm: Callable[[], None], ask: Callable[[dict[str, Any]], None]) -> None:
    """Ask within the time allowed, the neighbour undelayed.

    Args:
        warm: begins the process that tries grammars, which a case may have ended.
    """
    seconds = gap = 0.0
    for attempt in range(ATTEMPTS):
        warm()
        started = time.monotonic()
        ask(_asked_anew(case, attempt))
        seconds = time.monotonic() - started
        gap = beside.gap_since(started)
        if seconds < SECONDS and gap < GAP_SECONDS:
            return
    pytest.fail(f"{seconds:.1f} s; the neighbour waited {gap:.1f} s")


def _asked_anew(case: Case, attempt: int) -> dict[str, Any]:
    """A grammar that was good is kept: behind another thought it is another one."""
    grammar = case.fields.get("structured_outputs")
    if attempt == 0 or grammar is None or case.blamed:
        return case.fields
    return {"structured_outputs": grammar | {"after": ["", f"</{next(_numbers)}>"]}}


def _new_grammar() -> dict[str, Any]:
    return {"choice": [f"warm {next(_numbers)}"]}


def check(found: str, message: str, case: Case) -> None:
    """The error names the part, and says the rest in a few words; where nothing is wrong there is none."""
    assert found == case.blamed, message
    assert case.blamed in message
    assert case.said in message
    assert len(message) < 600 and "\n" not in message


# ---- in this process


@pytest.fixture(scope="module")
def llm() -> Iterator[LLM]:
    with LLM("demo", kv_cache_memory=2**25) as found:
        yield found


@pytest.fixture(scope="module")
def beside_llm(llm: LLM) -> Iterator[Neighbour]:
    with neighbour(lambda: llm.stream(STORY, SamplingParams(**_ENDLESS))) as found:
        yield found


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_in_process(llm: LLM, beside_llm: Neighbour, case: Case) -> None:
    def warm() -> None:
        llm.generate(STORY, SamplingParams(structured_outputs=_new_grammar()))

    def ask(fields: dict[str, Any]) -> None:
        found = message = ""
        try:
            llm.generate(STORY, params_of({"max_tokens": 4, **fields}))
        except ParameterError as error:
            found, message = error.field, str(error)
        check(found, message, case)

    in_time(beside_llm, case, warm, ask)


# ---- over HTTP


@pytest.fixture(scope="module")
def beside_service(service: Running) -> Iterator[Neighbour]:
    body = {"model": "demo", "prompt": STORY, "stream": True, **_ENDLESS}

    def stream() -> Iterator[object]:
        with service.client() as client, client.stream("POST", "/v1/completions", json=body) as answer:
            yield from answer.iter_lines()

    with neighbour(stream) as found:
        yield found


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_over_http(http: httpx2.Client, beside_service: Neighbour, case: Case) -> None:
    def warm() -> None:
        # A busy machine can keep the engine process from answering the service in time: 503 for a moment.
        wait_for(lambda: post({"structured_outputs": _new_grammar()}).status_code == 200, 30)

    def ask(fields: dict[str, Any]) -> None:
        answer = post(fields)
        assert answer.status_code == (400 if case.blamed else 200), answer.text[:400]
        error = answer.json().get("error", {"param": "", "message": "", "code": "", "type": ""})
        assert sorted(error) == ["code", "message", "param", "type"]
        check(error["param"], error["message"], case)

    def post(fields: dict[str, Any]) -> httpx2.Response:
        return http.post("/v1/completions", json={"model": "demo", "prompt": STORY, "max_tokens": 4, **fields})

    in_time(beside_service, case, warm, ask)


def test_a_body_that_is_nested_without_end_is_refused_at_once(http: httpx2.Client, beside_service: Neighbour) -> None:
    """10,000 levels of JSON itself: no recursion of ours may end the service."""
    depth = 10_000
    schema = b'{"items":' * depth + b"{}" + b"}" * depth
    body = b'{"model": "demo", "prompt": "Hi", "structured_outputs": {"json": ' + schema + b"}}"
    case = Case("nested JSON", {})

    def ask(_: dict[str, Any]) -> None:
        answer = http.post("/v1/completions", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 400 and "nested" in answer.json()["error"]["message"]

    in_time(beside_service, case, lambda: None, ask)


def test_many_at_once_delay_nobody_who_asks_for_no_grammar(service: Running, beside_service: Neighbour) -> None:
    """The process that tries grammars is one; who needs none does not stand in its queue."""
    divisors = itertools.count(99_999_989, 2)

    def costly() -> None:
        structured = {"json": {"type": "integer", "multipleOf": next(divisors)}}
        with service.client() as client:
            client.post("/v1/completions", json={"model": "demo", "prompt": "Hi", "structured_outputs": structured})

    threads: list[threading.Thread] = []

    def warm() -> None:
        threads[:] = [threading.Thread(target=costly) for _ in range(4)]
        for thread in threads:
            thread.start()

    def ask(_: dict[str, Any]) -> None:
        with service.client() as client:
            assert client.post("/v1/completions", json={"model": "demo", "prompt": "Hi"}).status_code == 200
        assert any(thread.is_alive() for thread in threads)

    try:
        in_time(beside_service, Case("costly ones", {}), warm, ask)
    finally:
        for thread in threads:
            thread.join()
