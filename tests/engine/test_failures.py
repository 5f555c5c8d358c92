"""When a step fails: the requests in it end with the error, all others go on, nothing leaks."""

from __future__ import annotations

import gc
import logging
import queue
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from aphrodite_engine.errors import ModelError
from aphrodite_engine.llm import LLM
from aphrodite_engine.outputs import TokenEvent
from aphrodite_engine.params import SamplingParams
from aphrodite_engine.sampling.history import TokenHistory
from tests.engine.inside import all_blocks_free, engine_of, wait_until

SHORT = SamplingParams(max_tokens=5, seed=3, ignore_eos=True)


@pytest.fixture
def llm(tiny_folder: Path) -> Iterator[LLM]:
    with LLM(tiny_folder, max_num_seqs=2) as llm:
        yield llm


def fail_once(llm: LLM, monkeypatch: pytest.MonkeyPatch, after: int = 0) -> None:
    """The model's forward raises once, after so many steps."""
    model, steps = engine_of(llm).runner.model, iter([*[False] * after, True])
    forward = model.forward

    def failing(*args: Any) -> torch.Tensor:
        if next(steps, False):
            raise RuntimeError("no memory left")
        return forward(*args)

    monkeypatch.setattr(model, "forward", failing)


@pytest.mark.parametrize("after", [0, 3])
def test_a_failed_step_raises_in_the_call_and_the_engine_goes_on(
    llm: LLM, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    expected = llm.generate("ab", SHORT)[0].outputs
    fail_once(llm, monkeypatch, after)
    with pytest.raises(RuntimeError, match="no memory left"):
        llm.generate(["ab", "cd"], SHORT)
    wait_until(lambda: not engine_of(llm).has_work)
    assert all_blocks_free(llm)
    assert llm.generate("ab", SHORT)[0].outputs == expected


def test_requests_that_were_not_in_the_failed_step_go_on(llm: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = llm.generate("cd", SHORT)[0].text
    ends: dict[str, TokenEvent] = {}
    texts: dict[str, str] = {}

    def sink(event: TokenEvent) -> None:
        texts[event.request_id] = texts.get(event.request_id, "") + event.text
        if event.finish_reason:
            ends[event.request_id] = event

    fail_once(llm, monkeypatch, after=2)
    requests = [llm._admission.admit(prompt, SHORT) for prompt in ("ab", "xy", "cd", "cd")]
    for request in requests:
        llm._running_loop().submit(request, sink)
    wait_until(lambda: len(ends) == 4)
    reasons = [ends[request.request_id].finish_reason for request in requests]
    assert reasons[0] == "error"
    assert reasons[2:] == ["length", "length"]
    assert texts[requests[3].request_id] == expected
    assert all_blocks_free(llm)


def test_the_error_shows_where_it_came_from_and_keeps_nothing_alive(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    llm = LLM(tiny_folder)
    model = weakref.ref(engine_of(llm).runner.model)
    fail_once(llm, monkeypatch)
    with pytest.raises(RuntimeError) as caught:
        llm.generate("ab", SHORT)
    monkeypatch.undo()
    assert "in failing" in caught.value.__notes__[0]
    llm.close()
    gc.collect()
    assert model() is None, "a notebook keeps the last error; that must not keep the weights"


def test_a_failed_step_is_logged_in_one_line(
    llm: LLM, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fail_once(llm, monkeypatch)
    with caplog.at_level(logging.ERROR), pytest.raises(RuntimeError):
        llm.generate("ab", SHORT)
    assert [record.getMessage() for record in caplog.records if "no memory left" in record.getMessage()]
    assert not any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize("rows", [1, 2])
def test_logits_that_are_not_numbers_end_their_request_with_a_clear_error(
    llm: LLM, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    """At once, or when two sequences of the request draw together and the first of them fails."""
    model = engine_of(llm).runner.model
    logits = model.logits

    def broken(hidden: torch.Tensor) -> torch.Tensor:
        found = logits(hidden)
        if len(found) >= rows:
            found[0] = torch.nan
        return found

    expected = llm.generate("ab", SHORT)[0].text
    monkeypatch.setattr(model, "logits", broken)
    stream = llm.stream("ab", SHORT.with_fields(n=2, logprobs=2))
    with pytest.raises(ModelError, match=r"NaN.*bfloat16"):
        list(stream)
    monkeypatch.undo()
    wait_until(lambda: not engine_of(llm).has_work)
    assert all_blocks_free(llm)
    assert llm.generate("ab", SHORT)[0].text == expected


def test_a_request_that_cannot_start_leaves_nothing_behind(llm: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_: object) -> None:
        raise MemoryError("no room for its token counts")

    monkeypatch.setattr(TokenHistory, "__init__", no_memory)
    with pytest.raises(MemoryError):
        llm.generate("ab", SHORT.with_fields(presence_penalty=1.0))
    assert not engine_of(llm).has_work
    assert llm.generate("ab", SHORT)[0].finished


@pytest.mark.parametrize("end", [lambda stream: stream.close(), lambda stream: [*stream]])
def test_every_end_leaves_no_state_in_the_engine(llm: LLM, end: Callable[[Any], object]) -> None:
    stream = llm.stream("ab", SHORT.with_fields(n=3))
    next(stream)
    end(stream)
    engine = engine_of(llm)
    wait_until(lambda: not engine.has_work)
    assert (engine._jobs, engine._texts) == ({}, {})
    assert (engine.scheduler.waiting, engine.scheduler.running) == ([], [])


def test_other_threads_see_how_long_a_step_takes(llm: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    model, going_on = engine_of(llm).runner.model, threading.Event()
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda *given: going_on.wait(30) and forward(*given))
    events: queue.SimpleQueue[TokenEvent] = queue.SimpleQueue()
    request = llm.admit([5, 6, 7], SamplingParams(max_tokens=1))
    llm.submit(request, events.put)
    wait_until(lambda: llm.stats().step_seconds > 0.02)
    assert llm.stats().step_tokens == 3
    going_on.set()
    assert events.get(timeout=30).finish_reason == "length"
    wait_until(lambda: (llm.stats().step_seconds, llm.stats().step_tokens) == (0.0, 0))
