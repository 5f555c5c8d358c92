"""The engine's promises on the device that is there; `make gpu` runs this file on a card: same bits, no memory kept."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aphrodite_engine.inside.hidden_states import HiddenStates
from aphrodite_engine.llm import LLM
from aphrodite_engine.params import SamplingParams
from aphrodite_engine.sampling import row_sums
from tests.engine.inside import engine_of

pytestmark = pytest.mark.slow

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
PROMPTS = [[(5 * place + row) % 250 for place in range(length)] for row, length in enumerate((3, 40, 17, 70, 1))]
PARAMS = [
    SamplingParams(temperature=temperature, top_p=0.9, seed=row, max_tokens=24, logprobs=3, ignore_eos=True)
    for row, temperature in enumerate((0.0, 0.8, 1.2, 0.8, 1.0))
]


def on_a_card(test: Any) -> Any:
    """Only there."""
    return pytest.mark.gpu(pytest.mark.skipif(DEVICE == "cpu", reason="needs a CUDA device")(test))


@pytest.fixture(scope="module")
def llm(tiny_folder: Path) -> Iterator[LLM]:
    with LLM(tiny_folder, device=DEVICE, kv_cache_memory=8 << 20, enforce_eager=True) as engine:
        yield engine


def test_a_request_gets_the_same_bits_alone_in_a_batch_and_twice(llm: LLM) -> None:
    alone = [llm.generate([prompt], [params])[0].outputs for prompt, params in zip(PROMPTS, PARAMS, strict=True)]
    assert [result.outputs for result in llm.generate(PROMPTS, PARAMS)] == alone
    assert [result.outputs for result in llm.generate(PROMPTS[::-1], PARAMS[::-1])] == alone[::-1]


def test_chunks_and_the_prefix_cache_change_no_bit(llm: LLM, tiny_folder: Path) -> None:
    whole = [result.outputs for result in llm.generate(PROMPTS, PARAMS, cache_salt="fresh")]
    assert [result.outputs for result in llm.generate(PROMPTS, PARAMS, cache_salt="fresh")] == whole  # cached now
    options = {"device": DEVICE, "kv_cache_memory": 8 << 20, "max_num_batched_tokens": 7, "max_num_seqs": 3}
    with LLM(tiny_folder, **options) as chunked:  # type: ignore[arg-type]
        assert [result.outputs for result in chunked.generate(PROMPTS, PARAMS)] == whole


#: Batches that shrink from 11 to 1, through all sizes of graphs: some rows report, obey or remember, most do not.
MANY = [[(3 * place + row) % 250 for place in range(1 + 9 * row)] for row in range(11)]
KINDS: list[dict[str, Any]] = [{}, {"top_p": 0.8}, {"temperature": 0.0}, {"top_k": 30, "min_p": 0.05}]
BLIND = [
    SamplingParams(
        **({"temperature": 0.9, "seed": row, "max_tokens": 4 + 3 * row, "ignore_eos": True} | KINDS[row % 4])
    )
    for row in range(11)
]
MIXED = [
    params.with_fields(logprobs=2) if row == 3 else params.with_fields(repetition_penalty=1.3) if row == 7 else params
    for row, params in enumerate(BLIND)
]


@pytest.mark.parametrize("params", [BLIND, MIXED], ids=["blind", "mixed"])
def test_steps_launched_ahead_change_no_bit(llm: LLM, tiny_folder: Path, params: list[SamplingParams]) -> None:
    one_by_one = [llm.generate([prompt], [own])[0].outputs for prompt, own in zip(MANY, params, strict=True)]
    for settings in ({"run_ahead": True}, {"run_ahead": False}, {"run_ahead": True, "max_num_batched_tokens": 9}):
        options: dict[str, Any] = {"device": DEVICE, "kv_cache_memory": 36 * 8192, "enforce_eager": True} | settings
        with LLM(tiny_folder, **options) as other:
            assert [result.outputs for result in other.generate(MANY, params)] == one_by_one, settings


def test_it_sleeps_and_wakes_to_the_same_bits(tiny_folder: Path) -> None:
    with LLM(tiny_folder, device=DEVICE, kv_cache_memory=8 << 20) as engine:
        before = [result.outputs for result in engine.generate(PROMPTS, PARAMS)]
        for _ in range(2):
            engine.sleep()
            engine.wake()
            assert [result.outputs for result in engine.generate(PROMPTS, PARAMS)] == before


def test_what_is_looked_at_and_pushed_inside_is_the_same_in_a_batch(llm: LLM) -> None:
    alone, together = [llm.capture(prompt) for prompt in PROMPTS], llm.capture(PROMPTS)
    assert isinstance(together, list)
    for single, among in zip(alone, together, strict=True):
        assert isinstance(single, HiddenStates)
        assert np.array_equal(single.final, among.final)
        assert all(np.array_equal(states, among.layers[layer]) for layer, states in single.layers.items())
    with llm.steer(0, [0.5, -1.0] * 32, scale=2.0):
        steered = [llm.generate([prompt], [params])[0].outputs for prompt, params in zip(PROMPTS, PARAMS, strict=True)]
        assert [result.outputs for result in llm.generate(PROMPTS, PARAMS)] == steered
    assert [result.outputs for result in llm.generate(PROMPTS, PARAMS)] != steered


# ---- on a card only


def used() -> int:
    """Bytes that torch holds on the card."""
    gc.collect()
    torch.cuda.empty_cache()
    return torch.cuda.memory_allocated()


@on_a_card
@pytest.mark.parametrize("params", [BLIND, MIXED], ids=["blind", "mixed"])
@pytest.mark.parametrize("run_ahead", [True, False])
def test_graphs_give_the_bits_of_eager_steps(
    llm: LLM, tiny_folder: Path, run_ahead: bool, params: list[SamplingParams]
) -> None:
    one_by_one = [llm.generate([prompt], [own])[0].outputs for prompt, own in zip(MANY, params, strict=True)]
    with LLM(tiny_folder, device="cuda", kv_cache_memory=8 << 20, max_num_seqs=11, run_ahead=run_ahead) as other:
        assert [result.outputs for result in other.generate(MANY, params)] == one_by_one
        graphs = engine_of(other).runner.graphs
        assert graphs is not None
        assert set(graphs.captured) == {1, 2, 4, 8, 11}
        assert [result.outputs for result in other.generate(MANY, params)] == one_by_one, "nothing captured anew"


@on_a_card
def test_graphs_of_quantised_weights_and_of_half_precision_give_the_bits_of_eager_steps(tiny_folder: Path) -> None:
    for settings in ({"quantization": "int8"}, {"dtype": "bfloat16"}, {"dtype": "bfloat16", "quantization": "int8"}):
        options: dict[str, Any] = {"device": "cuda", "kv_cache_memory": 8 << 20, "max_num_seqs": 11} | settings
        with LLM(tiny_folder, enforce_eager=True, **options) as eager, LLM(tiny_folder, **options) as replayed:
            expected = [result.outputs for result in eager.generate(MANY, BLIND)]
            assert [result.outputs for result in replayed.generate(MANY, BLIND)] == expected, settings


@on_a_card
@pytest.mark.parametrize("size", [1, 264, 1027, 50257, 151936])
@pytest.mark.parametrize("name", ["row_sum", "running_sum", "softmax", "log_softmax"])
def test_a_row_adds_up_alike_alone_and_among_others(name: str, size: int) -> None:
    logits, function = torch.randn(9, size, device=DEVICE), getattr(row_sums, name)
    together = function(logits)
    for row in range(9):
        assert torch.equal(function(logits[row : row + 1]), together[row : row + 1])


@on_a_card
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_a_card_that_is_not_the_current_one(llm: LLM, tiny_folder: Path) -> None:
    for settings in ({"enforce_eager": True}, {}):
        with LLM(tiny_folder, device="cuda:1", kv_cache_memory=8 << 20, **settings) as second:
            assert [o.outputs for o in second.generate(PROMPTS, PARAMS)] == [
                o.outputs for o in llm.generate(PROMPTS, PARAMS)
            ]
    assert torch.cuda.current_device() == 0


@on_a_card
def test_a_step_launched_ahead_never_waits_for_the_device(tiny_folder: Path) -> None:
    """torch raises where an operation makes the host wait; that tokens are read by an event is no operation of its."""
    with LLM(tiny_folder, device="cuda", kv_cache_memory=8 << 20, max_num_seqs=11) as engine:
        for mode in ("default", "error"):  # the first time kernels are compiled and graphs captured
            inside = engine_of(engine)
            for prompt, own in zip(MANY, BLIND, strict=True):
                inside.add(engine.admit(prompt, own))  # its own thread waits for work in its inbox, and finds none
            while inside.scheduler.waiting or any(not sequence.num_output for sequence in inside.scheduler.running):
                inside.step()
            torch.cuda.set_sync_debug_mode(mode)
            try:
                while inside.has_work:
                    inside.step()
            finally:
                torch.cuda.set_sync_debug_mode("default")


@on_a_card
@pytest.mark.parametrize("settings", [{}, {"enforce_eager": True}, {"kv_cache_memory": 8 << 20}], ids=str)
def test_close_returns_all_device_memory(tiny_folder: Path, settings: dict[str, Any]) -> None:
    with LLM(tiny_folder, device="cuda") as warm:  # what CUDA's libraries keep is there before and after
        warm.generate(PROMPTS, PARAMS)
    before, reserved = used(), torch.cuda.memory_reserved()
    engine = LLM(tiny_folder, device="cuda", **settings)
    engine.generate(PROMPTS, PARAMS)
    assert used() > before
    engine.close()
    assert used() == before
    assert torch.cuda.memory_reserved() <= reserved + (2 << 20), "the graphs' pool, too, but for a small segment"


@on_a_card
def test_a_sleeping_model_has_nothing_on_the_card(tiny_folder: Path) -> None:
    with LLM(tiny_folder, device="cuda") as warm:
        warm.generate(PROMPTS, PARAMS)
    before = used()
    with LLM(tiny_folder, device="cuda") as engine:
        engine.generate(PROMPTS, PARAMS)
        awake = used()
        assert awake > before + engine.plan.weight_bytes
        engine.sleep()
        assert used() == before
        engine.wake()
        engine.generate(PROMPTS, PARAMS)
        assert abs(used() - awake) < 1 << 20
    assert used() == before


@on_a_card
def test_the_cache_is_planned_from_a_step_that_was_run(tiny_folder: Path) -> None:
    with LLM(tiny_folder, device="cuda") as engine:
        plan = engine.plan
        assert plan.measured
        assert 0 < plan.activation_bytes < 1 << 30
        assert plan.graph_bytes > 0
        assert plan.left_bytes >= int(0.99 * (1 - engine.config.gpu_memory_utilization) * plan.total_bytes)
    with LLM(tiny_folder, device="cuda", kv_cache_memory=8 << 20) as engine:
        assert not engine.plan.measured, "the caller has planned"


@on_a_card
def test_greedy_tokens_in_float32_equal_those_of_the_cpu(tiny_folder: Path) -> None:
    greedy = SamplingParams(temperature=0.0, max_tokens=32, ignore_eos=True)
    found = []
    for device in ("cpu", "cuda"):
        with LLM(tiny_folder, device=device, dtype="float32") as engine:
            found.append([list(result.token_ids) for result in engine.generate(PROMPTS, greedy)])
    assert found[0] == found[1]
