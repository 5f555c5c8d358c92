"""Sleep and wake: memory goes and comes, tokens stay what they are, and who asks meanwhile hears why not."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from aphrodite_engine.errors import EngineAsleepError, EngineClosedError
from aphrodite_engine.llm import LLM
from aphrodite_engine.loading.parked import PIECE, ParkedTensors
from aphrodite_engine.params import SamplingParams
from tests.engine.inside import all_blocks_free, engine_of, wait_until
from tests.engine.models.checkpoints import write_checkpoint

pytestmark = pytest.mark.slow

SHORT = SamplingParams(max_tokens=6, seed=3, ignore_eos=True)
ENDLESS = SamplingParams(max_tokens=None, ignore_eos=True)


@pytest.fixture
def llm(tiny_folder: Path) -> Iterator[LLM]:
    with LLM(tiny_folder) as llm:
        yield llm


def test_it_wakes_to_the_same_tokens_with_an_empty_prefix_cache(llm: LLM) -> None:
    prompt = [5] * 40
    before = llm.generate([prompt], SHORT)[0]
    assert llm.generate([prompt], SHORT)[0].num_cached_tokens == 32
    llm.sleep()
    assert llm.is_asleep
    assert engine_of(llm).runner.kv.layers == ()
    llm.wake()
    assert not llm.is_asleep
    again = llm.generate([prompt], SHORT)[0]
    assert (again.outputs, again.num_cached_tokens) == (before.outputs, 0)
    assert all_blocks_free(llm)


def test_it_may_be_told_twice(llm: LLM) -> None:
    llm.wake()
    llm.sleep()
    llm.sleep()
    llm.wake()
    llm.wake()
    assert llm.generate("ab", SHORT)[0].finished


@pytest.mark.parametrize(
    "ask",
    [
        lambda llm: llm.generate("a"), lambda llm: llm.chat([{"role": "user", "content": "a"}]),
        lambda llm: llm.stream("a"), lambda llm: llm.embed("a"), lambda llm: llm.score("a", "b"),
        lambda llm: llm.capture("a"),
    ],
)  # fmt: skip
def test_who_asks_while_it_sleeps_is_told_to_wake_it(llm: LLM, ask: Callable[[LLM], Any]) -> None:
    llm.sleep()
    with pytest.raises(EngineAsleepError, match=r"call wake\(\) first"):
        ask(llm)
    assert llm.tokenize("a"), "what needs no weights still works"
    assert llm.stats().running == 0


def test_requests_that_run_when_it_goes_to_sleep_end_with_the_reason(llm: LLM) -> None:
    ends: queue.SimpleQueue[BaseException] = queue.SimpleQueue()

    def ask() -> None:
        with pytest.raises(EngineAsleepError, match="while this request ran") as caught:
            llm.generate(["a"] * 50, ENDLESS)
        ends.put(caught.value)

    thread = threading.Thread(target=ask)
    thread.start()
    wait_until(lambda: len(engine_of(llm).scheduler.running) > 40)
    llm.sleep()
    thread.join(10)
    assert isinstance(ends.get_nowait(), EngineClosedError)
    llm.wake()
    assert llm.generate("ab", SHORT)[0].finished


def test_a_request_that_overtakes_the_call_is_refused_in_the_engine(llm: LLM) -> None:
    request, events = llm.admit([1, 2, 3], SHORT), queue.SimpleQueue[Any]()
    loop = llm._running_loop()
    llm.sleep()
    loop.submit(request, events.put)
    assert isinstance(events.get(timeout=10).error, EngineAsleepError)


def test_a_sleeping_engine_can_be_closed_and_then_neither_sleeps_nor_wakes(tiny_folder: Path) -> None:
    llm = LLM(tiny_folder)
    llm.sleep()
    llm.close()
    for call in (llm.sleep, llm.wake):
        with pytest.raises(EngineClosedError, match="create a new LLM"):
            call()


def test_one_that_cannot_get_its_memory_back_sleeps_on(llm: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = engine_of(llm).runner
    expected, furnish = llm.generate("ab", SHORT)[0].outputs, runner._furnish
    llm.sleep()

    def full() -> Any:
        raise torch.OutOfMemoryError("no memory left")

    monkeypatch.setattr(runner, "_furnish", full)
    with pytest.raises(torch.OutOfMemoryError):
        llm.wake()
    with pytest.raises(EngineAsleepError):
        llm.generate("ab", SHORT)
    monkeypatch.setattr(runner, "_furnish", furnish)
    llm.wake()
    assert llm.generate("ab", SHORT)[0].outputs == expected


@pytest.mark.slow  # with what follows the first to import transformers
def test_an_encoder_sleeps_too(tmp_path: Path) -> None:
    with LLM(write_checkpoint(tmp_path, "bert")) as llm:
        before = llm.embed([[5, 6, 7]])
        llm.sleep()
        with pytest.raises(EngineAsleepError):
            llm.embed([[5, 6, 7]])
        llm.wake()
        assert (llm.embed([[5, 6, 7]]) == before).all()


# ---- what a GPU's weights go through


def test_parked_tensors_have_no_memory_and_come_back_as_they_were() -> None:
    generator = torch.Generator().manual_seed(1)
    large = torch.randint(0, 256, (PIECE + 12_345,), dtype=torch.uint8, generator=generator)
    whole = torch.randn(100, 7, generator=generator)
    tied, small = whole[10:20], torch.randn(3, generator=generator).bfloat16()
    tensors = [whole, tied, torch.empty(0), large, small]
    before = [tensor.clone() for tensor in tensors]
    parked = ParkedTensors(tensors)
    assert parked.nbytes == whole.nbytes + large.nbytes + small.nbytes
    assert [tensor.untyped_storage().nbytes() for tensor in tensors] == [0] * 5
    parked.restore()
    assert all(torch.equal(*pair) for pair in zip(tensors, before, strict=True))
    whole[12] = 5.0
    assert bool((tied[2] == 5.0).all()), "what shared memory shares it again"


def test_a_model_names_all_that_it_holds(tiny: LLM) -> None:
    """Else it would stay on the GPU: counted by what the file holds, at the least."""
    assert held_bytes(tiny) >= tiny.plan.weight_bytes


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gpt2", "qwen3_moe"])
def test_so_do_the_models_of_the_universal_path(tmp_path: Path, kind: str) -> None:
    with LLM(write_checkpoint(tmp_path, kind)) as llm:
        assert held_bytes(llm) >= llm.plan.weight_bytes


def held_bytes(llm: LLM) -> int:
    tensors = {tensor.data_ptr(): tensor for tensor in engine_of(llm).runner.model.tensors() if tensor.numel()}
    return sum(tensor.nbytes for tensor in tensors.values())
