"""Lifecycle: close gives everything back, an interrupt costs only its own call, nothing outlives its owner."""

from __future__ import annotations

import gc
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aphrodite_engine.errors import EngineClosedError
from aphrodite_engine.llm import LLM
from aphrodite_engine.params import SamplingParams
from tests.engine.inside import all_blocks_free, engine_of, wait_until
from tests.engine.tiny import write_tiny_llama

ROOT = Path(__file__).parents[2]
SHORT = SamplingParams(max_tokens=6, seed=3, ignore_eos=True)
ENDLESS = SamplingParams(max_tokens=None, ignore_eos=True)


def engine_threads() -> int:
    return sum(thread.name == "aphrodite-engine" for thread in threading.enumerate())


def run_script(script: str, *arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *arguments], capture_output=True, text=True, cwd=ROOT,
        env=os.environ | environment, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


# ---- close


def test_close_may_be_called_twice_and_ends_the_thread(tiny_folder: Path) -> None:
    before = engine_threads()
    llm = LLM(tiny_folder)
    assert engine_threads() == before + 1
    llm.close()
    llm.close()
    assert engine_threads() == before


def test_every_method_of_a_closed_engine_says_so(tiny_folder: Path) -> None:
    with LLM(tiny_folder) as llm:
        pass
    calls: list[Callable[[], Any]] = [
        lambda: llm.generate("a"), lambda: llm.chat([{"role": "user", "content": "a"}]), lambda: llm.stream("a"),
        lambda: llm.embed("a"), lambda: llm.score("a", "b"), lambda: llm.astream("a"),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(EngineClosedError, match="create a new LLM"):
            call()
    assert llm.plan.kv_blocks > 0
    assert llm.tokenize("a"), "what needs no weights still works"


def test_a_stream_opened_before_close_ends_with_an_error_when_read(tiny_folder: Path) -> None:
    with LLM(tiny_folder) as llm:
        started, unstarted = llm.stream("a", ENDLESS), llm.stream("a")
        next(started)
    for stream in (started, unstarted):
        with pytest.raises(EngineClosedError):
            list(stream)


def test_closing_ends_calls_that_run_in_other_threads(tiny_folder: Path) -> None:
    llm, ends = LLM(tiny_folder), queue.SimpleQueue[str]()

    def ask() -> None:
        try:
            llm.generate(["a"] * 200, ENDLESS)
        except EngineClosedError:
            ends.put("closed")

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(engine_of(llm).scheduler.running) > 200)
    llm.close()
    for thread in threads:
        thread.join(10)
    assert [ends.get_nowait() for _ in threads] == ["closed"] * 3


@pytest.mark.slow
def test_a_request_that_races_with_close_is_answered_or_refused_never_left_waiting(tiny_folder: Path) -> None:
    for _ in range(5):
        llm, answers = LLM(tiny_folder), queue.SimpleQueue[str]()

        def ask(llm: LLM = llm, answers: queue.SimpleQueue[str] = answers) -> None:
            try:
                while True:
                    llm.generate("a", SamplingParams(max_tokens=1))
            except EngineClosedError:
                answers.put("closed")

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.02)
        llm.close()
        assert [answers.get(timeout=10) for _ in threads] == ["closed"] * 4


def test_an_engine_that_is_dropped_without_close_ends_its_thread_and_frees_its_model(tiny_folder: Path) -> None:
    before = engine_threads()
    llm = LLM(tiny_folder)
    llm.generate("a", SHORT)
    model = weakref.ref(engine_of(llm).runner.model)
    del llm
    gc.collect()
    wait_until(lambda: engine_threads() == before)
    gc.collect()
    assert model() is None


@pytest.mark.slow
def test_close_gives_the_memory_back(tmp_path: Path) -> None:
    """Five times load, generate, close: what stays is what the first time left (libraries, compiled kernels)."""
    folder = write_tiny_llama(
        tmp_path, hidden_size=512, intermediate_size=2048, num_hidden_layers=6, num_attention_heads=8,
        num_key_value_heads=8, head_dim=64,
    )  # fmt: skip
    script = """
import sys, json
from pathlib import Path
from aphrodite_engine.llm import LLM
from aphrodite_engine.params import SamplingParams

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

sizes = []
for _ in range(5):
    with LLM(sys.argv[1], kv_cache_memory=64 << 20) as llm:
        llm.generate(["a" * 200] * 4, SamplingParams(max_tokens=4, ignore_eos=True))
        loaded = resident()
    sizes.append([loaded, resident()])
print(json.dumps([llm.plan.weight_bytes, sizes]))
"""
    # One arena: with several, what glibc keeps between threads swings by 20 MB either way, and hides a leak.
    weights, sizes = json.loads(run_script(script, str(folder), MALLOC_ARENA_MAX="1"))
    assert weights > 60e6
    (_, first), (last_loaded, last) = sizes[0], sizes[-1]
    assert last_loaded - last > 0.9 * weights, "closing frees the weights"
    assert last - first < 0.05 * weights, "and nothing piles up"


@pytest.mark.slow
def test_a_process_that_forgets_to_close_in_the_middle_of_a_stream_ends_quietly(tiny_folder: Path) -> None:
    script = """
import sys
from aphrodite_engine.llm import LLM
from aphrodite_engine.params import SamplingParams
llms = [LLM(sys.argv[1]) for _ in range(3)]
streams = [llm.stream("a", SamplingParams(max_tokens=None, ignore_eos=True)) for llm in llms]
print([len(next(stream).token_ids) for stream in streams])
"""
    assert run_script(script, str(tiny_folder)) == "[1, 1, 1]\n"


@pytest.mark.slow
def test_threads_that_outlive_the_main_one_are_served_to_the_end(tiny_folder: Path) -> None:
    script = """
import sys, threading, time
from aphrodite_engine.llm import LLM
from aphrodite_engine.params import SamplingParams
llm = LLM(sys.argv[1])
def ask():
    while threading.main_thread().is_alive():
        time.sleep(0.01)
    print(len(llm.generate("a", SamplingParams(max_tokens=50, ignore_eos=True))[0].token_ids))
threading.Thread(target=ask).start()
"""
    assert run_script(script, str(tiny_folder)) == "50\n"


def test_a_failed_load_leaves_no_thread(tmp_path: Path) -> None:
    before = engine_threads()
    folder = write_tiny_llama(tmp_path)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(Exception, match=r"model\.safetensors"):
        LLM(folder)
    assert engine_threads() == before


# ---- several at once


def test_engines_live_side_by_side_and_closing_one_leaves_the_others(demo: LLM, tiny: LLM, tiny_folder: Path) -> None:
    expected, demos = tiny.generate("ab", SHORT)[0].outputs, demo.generate("ab", SHORT)[0].outputs
    other = LLM(tiny_folder)
    stream = other.stream("ab", SHORT)
    next(stream)
    assert tiny.generate("ab", SHORT)[0].outputs == expected
    assert demo.generate("ab", SHORT)[0].outputs == demos
    other.close()
    assert tiny.generate("ab", SHORT)[0].outputs == expected


def test_many_threads_may_ask_one_engine(tiny: LLM) -> None:
    expected = {length: tiny.generate("a" * length, SHORT)[0].text for length in range(1, 9)}
    found: dict[int, str] = {}

    def ask(length: int) -> None:
        found[length] = tiny.generate("a" * length, SHORT)[0].text

    threads = [threading.Thread(target=ask, args=(length,)) for length in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == expected


# ---- interrupts


class InterruptedQueue:
    """A queue whose third get is interrupted, as Ctrl-C would."""

    def __init__(self) -> None:
        self._queue, self._gets = queue.SimpleQueue[Any](), 0
        self.put = self._queue.put

    def get(self) -> Any:
        self._gets += 1
        if self._gets == 3:
            raise KeyboardInterrupt
        return self._queue.get()


@pytest.mark.parametrize(
    "ask",
    [
        lambda llm: llm.generate(["ab", "cd"], ENDLESS),
        lambda llm: list(llm.stream("ab", ENDLESS)),
        lambda llm: llm.embed(["ab"] * 9),
        lambda llm: llm.chat([{"role": "user", "content": "ab"}], ENDLESS),
    ],
)
def test_an_interrupt_aborts_the_calls_requests_and_the_engine_stays_usable(
    tiny: LLM, monkeypatch: pytest.MonkeyPatch, ask: Callable[[LLM], Any]
) -> None:
    monkeypatch.setattr("aphrodite_engine.answers.queue", SimpleNamespace(SimpleQueue=InterruptedQueue))
    with pytest.raises(KeyboardInterrupt):
        ask(tiny)
    monkeypatch.undo()
    wait_until(lambda: not engine_of(tiny).has_work)
    assert all_blocks_free(tiny)
    assert tiny.generate("ab", SHORT)[0].finished


@pytest.mark.slow
def test_ctrl_c_during_generate_leaves_the_engine_usable(tiny_folder: Path) -> None:
    script = """
import sys, time
from aphrodite_engine.llm import LLM
from aphrodite_engine.params import SamplingParams
short = SamplingParams(max_tokens=6, seed=3, ignore_eos=True)
endless = SamplingParams(max_tokens=None, ignore_eos=True)
llm = LLM(sys.argv[1])
before = llm.generate("ab", short)[0].text
print("ready", flush=True)
try:
    while True:
        llm.generate(["ab"] * 50, endless)
except KeyboardInterrupt:
    print("interrupted", flush=True)
pool, deadline = llm._loaded.engine.scheduler.pool, time.monotonic() + 10
while pool.num_free < pool.num_blocks and time.monotonic() < deadline:
    time.sleep(0.01)
print(pool.num_free == pool.num_blocks, llm.generate("ab", short)[0].text == before)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tiny_folder)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        assert process.stdout.read().splitlines() == ["interrupted", "True True"]
    assert process.returncode == 0
