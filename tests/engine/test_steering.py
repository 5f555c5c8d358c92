"""Steering: an addition to the residual stream, per request, and no trace of it anywhere else."""

from __future__ import annotations

import asyncio
import contextlib
import json
import queue
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aphrodite_engine.errors import ParameterError
from aphrodite_engine.inside.hidden_states import HiddenStates
from aphrodite_engine.inside.lens import Lens
from aphrodite_engine.inside.steering import Steer, Steering
from aphrodite_engine.llm import LLM
from aphrodite_engine.outputs import GenerationResult, TokenEvent
from aphrodite_engine.params import SamplingParams
from aphrodite_engine.request import Request
from tests.engine.inside import engine_of
from tests.engine.models.checkpoints import reference, write_checkpoint

pytestmark = pytest.mark.slow

HIDDEN = 64
IDS = [5 + (7 * place) % 100 for place in range(40)]
VECTOR = np.random.default_rng(0).normal(size=HIDDEN).astype(np.float32)
OTHER = np.random.default_rng(1).normal(size=HIDDEN).astype(np.float32)
PARAMS = SamplingParams(max_tokens=12, seed=3, ignore_eos=True, logprobs=3, n=2)


@pytest.fixture(scope="module")
def chunked(tiny_folder: Path) -> Iterator[LLM]:
    with LLM(tiny_folder, max_num_batched_tokens=7) as llm:
        yield llm


def exact(result: GenerationResult) -> list[object]:
    return [(output.token_ids, output.logprobs) for output in result.outputs]


def states_of(llm: LLM, ids: list[int]) -> HiddenStates:
    states = llm.capture(ids)
    assert isinstance(states, HiddenStates)
    return states


def uncached(llm: LLM, ids: list[int] = IDS, params: SamplingParams = PARAMS) -> list[object]:
    """What a request gives that shares nothing with others."""
    return exact(llm.generate(ids, params, cache_salt=str(np.random.default_rng().integers(2**60)))[0])


@pytest.mark.parametrize("kind", ["llama", "gpt2", pytest.param("mixtral", marks=pytest.mark.slow)])
def test_the_vector_is_added_after_the_layer_and_the_rest_of_the_model_sees_it(tmp_path: Path, kind: str) -> None:
    folder = write_checkpoint(tmp_path, kind)
    model = reference(folder)
    first = model.get_submodule("transformer.h.0" if kind == "gpt2" else "model.layers.0")
    push = 2.5 * torch.from_numpy(VECTOR)
    first.register_forward_hook(lambda module, inputs, output: torch.add(output, push))  # type: ignore[arg-type]
    with torch.inference_mode():
        expected = torch.softmax(model(torch.tensor([IDS])).logits[0], 1)
    with LLM(folder) as llm, llm.steer(0, VECTOR, scale=2.5):
        lens = llm.lens(IDS, layers=[-1], top=128)
    assert isinstance(lens, Lens)
    found = expected.gather(1, torch.from_numpy(lens.top_ids[0]))
    np.testing.assert_allclose(lens.top_probabilities[0], found.numpy(), atol=1e-4)


def test_a_captured_state_includes_what_was_added_to_it(tiny: LLM) -> None:
    plain = states_of(tiny, IDS)
    with tiny.steer(1, VECTOR, -2.0):
        steered = states_of(tiny, IDS)
    assert np.array_equal(steered.layers[0], plain.layers[0])
    assert np.array_equal(steered.layers[1], plain.layers[1] + np.float32(-2) * VECTOR)
    assert np.array_equal(states_of(tiny, IDS).layers[1], plain.layers[1])


@pytest.mark.parametrize("kind", ["llama", "gpt2", pytest.param("qwen3_moe", marks=pytest.mark.slow)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_neighbours_keep_every_bit(tmp_path: Path, kind: str, dtype: str) -> None:
    with LLM(
        write_checkpoint(tmp_path, kind), dtype=dtype, enable_prefix_caching=False, max_num_batched_tokens=48
    ) as llm:
        alone = uncached(llm)
        with llm.steer(0, VECTOR, 3.0), llm.steer(1, OTHER):
            steered = uncached(llm)
            requests = [llm.admit(IDS, PARAMS)]
        requests += [llm.admit(IDS, PARAMS)]
        with llm.steer(0, OTHER, 3.0):
            requests += [llm.admit(IDS, PARAMS)]
            other = uncached(llm)
        together = _together(llm, requests)
    assert together == [steered, alone, other]
    assert len({json.dumps([output[0] for output in outcome]) for outcome in (alone, steered, other)}) == 3  # type: ignore[index]


def _together(llm: LLM, requests: list[Request]) -> list[list[object]]:
    events = queue.SimpleQueue[TokenEvent]()
    for request in requests:
        llm.submit(request, events.put)
    outputs = {(request.request_id, index): ([], []) for request in requests for index in range(request.params.n)}
    running = len(outputs)
    while running:
        event = events.get(timeout=60)
        token_ids, logprobs = outputs[event.request_id, event.index]
        token_ids += event.token_ids
        logprobs += event.logprobs or ()
        running -= event.finish_reason is not None
    return [[outputs[request.request_id, index] for index in range(request.params.n)] for request in requests]


@given(
    ids=st.lists(st.integers(0, 255), min_size=1, max_size=60),
    layer=st.sampled_from([0, 1]),
    scale=st.floats(-4, 4),
    positions=st.one_of(st.none(), st.lists(st.integers(0, 70), max_size=9), st.just(range(5, 200))),
)
@settings(max_examples=15)
def test_bits_are_the_same_alone_in_a_batch_in_chunks_cached_and_streamed(
    tiny: LLM, chunked: LLM, ids: list[int], layer: int, scale: float, positions: list[int] | None
) -> None:
    params = SamplingParams(max_tokens=6, seed=5, ignore_eos=True, logprobs=1)
    plain = uncached(tiny, ids, params)
    with tiny.steer(layer, VECTOR, scale, positions):
        alone = uncached(tiny, ids, params)
        first, again = (exact(tiny.generate(ids, params)[0]) for _ in range(2))
        batch = [exact(result) for result in tiny.generate([ids, IDS, ids], params)]
        events = list(tiny.stream(ids, params))
    with chunked.steer(layer, VECTOR, scale, positions):
        in_chunks = exact(chunked.generate(ids, params)[0])
    assert first == again == batch[0] == batch[2] == in_chunks == alone
    assert [token for event in events for token in event.token_ids] == alone[0][0]  # type: ignore[index]
    assert exact(tiny.generate(ids, params)[0]) == plain


def test_preempted_half_way_the_bits_are_the_same(tiny: LLM, tiny_folder: Path) -> None:
    ids, params, answers = (
        list(range(40)),
        SamplingParams(max_tokens=8, seed=1, ignore_eos=True),
        queue.SimpleQueue[TokenEvent](),
    )
    with tiny.steer(0, VECTOR, 2.0):
        expected = tiny.generate(ids, params)[0].token_ids
    with LLM(tiny_folder, max_model_len=112, kv_cache_memory=7 * 16 * 512, max_num_batched_tokens=2) as llm:
        endless = llm.admit([9] * 60, SamplingParams(max_tokens=None, ignore_eos=True))
        with llm.steer(0, VECTOR, 2.0):
            request = llm.admit(ids, params)
        llm.submit(endless, lambda event: None)
        llm.submit(request, answers.put)
        tokens: list[int] = []
        while len(tokens) < 8:
            tokens += answers.get(timeout=60).token_ids
        assert engine_of(llm).scheduler.num_preemptions > 0
    assert tokens == expected


def test_what_was_computed_under_steering_is_found_by_the_same_steering_alone(tiny_folder: Path) -> None:
    params = SamplingParams(max_tokens=1)
    with LLM(tiny_folder) as llm:

        def cached(*steers: tuple[int, np.ndarray, float]) -> int:
            with contextlib.ExitStack() as stack:
                for steer in steers:
                    stack.enter_context(llm.steer(*steer))
                return llm.generate(IDS, params)[0].num_cached_tokens

        assert cached((0, VECTOR, 2.0)) == 0
        assert cached((0, VECTOR, 2.0)) == 32
        assert cached((-2, VECTOR * 2, 1.0)) == 32  # the same addition, said otherwise
        assert cached() == 0
        assert cached() == 32
        assert cached((0, VECTOR, 0.0)) == 32  # which is none
        assert cached((1, VECTOR, 2.0)) == cached((0, VECTOR, 2.5)) == cached((0, OTHER, 2.0)) == 0
        assert cached((0, VECTOR, 2.0), (1, OTHER, 1.0)) == 0
        assert cached((1, OTHER, 1.0), (0, VECTOR, 2.0)) == 32
        assert cached((0, VECTOR, 1.0), (0, VECTOR, -1.0)) == 32
        with llm.steer(0, VECTOR, 2.0, positions=[3]):
            assert llm.generate(IDS, params)[0].num_cached_tokens == 0


def test_nothing_added_is_nothing_changed(tiny: LLM) -> None:
    plain = uncached(tiny)
    for vector, scale, positions in ((VECTOR, 0.0, None), (np.zeros(HIDDEN), 5.0, None), (VECTOR, 5.0, [])):
        with tiny.steer(0, vector, scale, positions):
            assert uncached(tiny) == plain
            assert not tiny.admit(IDS).is_tapped or positions == []


def test_contexts_add_up_and_end(tiny: LLM) -> None:
    plain = states_of(tiny, IDS).layers[1]
    with tiny.steer(1, VECTOR):
        with tiny.steer(1, OTHER, 2.0), tiny.steer(0, OTHER):
            assert len(tiny.admit(IDS).steering.steers) == 3
        with tiny.steer(1, OTHER, 2.0):
            both = states_of(tiny, IDS).layers[1]
        first = states_of(tiny, IDS).layers[1]
    np.testing.assert_allclose(both, plain + VECTOR + 2 * OTHER, atol=1e-5)
    assert np.array_equal(first, plain + VECTOR)
    with pytest.raises(RuntimeError, match="inside"), tiny.steer(1, VECTOR):
        raise RuntimeError("inside")
    assert np.array_equal(states_of(tiny, IDS).layers[1], plain)


def test_positions_are_of_prompt_and_output_together(tiny: LLM) -> None:
    plain = states_of(tiny, IDS)
    with tiny.steer(1, VECTOR, positions=[2, 39, 38, 60]):
        some = states_of(tiny, IDS)
    changed = np.flatnonzero((some.layers[1] != plain.layers[1]).any(1))
    assert changed.tolist() == [2, 38, 39]
    greedy = SamplingParams(temperature=0, max_tokens=6, ignore_eos=True, logprobs=0)
    unsteered = tiny.generate(IDS, greedy)[0].outputs[0]
    with tiny.steer(0, VECTOR, 4.0, positions=range(len(IDS), tiny.max_model_len)):
        output_only = tiny.generate(IDS, greedy)[0].outputs[0]
    # The first token is drawn behind the prompt's last, which nothing was added to.
    assert unsteered.logprobs is not None and output_only.logprobs is not None
    assert output_only.logprobs[0] == unsteered.logprobs[0] and output_only.logprobs[1:] != unsteered.logprobs[1:]


def test_other_threads_and_tasks_are_not_touched(tiny: LLM, tiny_folder: Path) -> None:
    seen: list[bool] = []
    with tiny.steer(0, VECTOR):
        thread = threading.Thread(target=lambda: seen.append(tiny.admit(IDS).is_tapped))
        thread.start()
        thread.join()
        seen.append(tiny.admit(IDS).is_tapped)
    assert seen == [False, True]

    async def steered(entered: asyncio.Event, done: asyncio.Event) -> list[object]:
        with tiny.steer(0, VECTOR, 2.0):
            entered.set()
            await done.wait()
            return exact((await tiny.agenerate(IDS, PARAMS))[0])

    async def both() -> tuple[list[object], list[object]]:
        entered, done = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(steered(entered, done))
        await entered.wait()
        plain = exact((await tiny.agenerate(IDS, PARAMS))[0])
        done.set()
        return plain, await task

    plain, pushed = asyncio.run(both())
    assert plain == uncached(tiny) != pushed
    with tiny.steer(0, VECTOR, 2.0):
        assert exact(tiny.generate(IDS, PARAMS)[0]) == pushed
        with LLM(tiny_folder) as other:
            assert not other.admit(IDS).is_tapped


def test_a_result_says_that_it_was_steered(tiny: LLM) -> None:
    assert tiny.generate(IDS, PARAMS)[0].origin.steering == Steering()  # type: ignore[union-attr]
    with tiny.steer(-1, VECTOR, 2.0, [3]):
        (result,), (event, *_) = tiny.generate(IDS, PARAMS), tiny.stream(IDS, PARAMS)
    (steer,) = result.origin.steering.steers  # type: ignore[union-attr]
    assert steer == Steer(1, VECTOR.tobytes(), 2.0, ((3, 4),)) and event.origin is not None
    assert event.origin.steering.steers == (steer,)
    again = Steering.from_json(json.loads(json.dumps(result.origin.steering.to_json())))  # type: ignore[union-attr]
    with tiny._admission.steering.steered(again.steers):
        assert exact(tiny.generate(IDS, PARAMS)[0]) == exact(result)


def test_embeddings_are_steered_as_well(tiny: LLM) -> None:
    plain = tiny.embed(IDS)
    with tiny.steer(0, VECTOR, 3.0):
        assert not np.array_equal(tiny.embed(IDS), plain)
    assert np.array_equal(tiny.embed(IDS), plain)


@pytest.mark.parametrize("form", [np.asarray, np.float64, list, torch.tensor, lambda v: torch.tensor(v).bfloat16()])
def test_a_vector_may_be_an_array_a_tensor_or_a_list(tiny: LLM, form: Callable[[list[float]], object]) -> None:
    halves = [0.5 * place for place in range(HIDDEN)]
    with tiny.steer(0, form(halves), 2):
        (steer,) = tiny.admit(IDS).steering.steers
    assert np.frombuffer(steer.vector, "<f4").tolist() == halves and steer.scale == 2.0


def _with(place: int, value: float) -> np.ndarray:
    vector = VECTOR.astype(np.float64)
    vector[place] = value
    return vector


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((2, VECTOR), "layer=2"),
        ((True, VECTOR), "layer=True"),
        ((0, VECTOR[:-1]), "float32 of shape (63,)"),
        ((0, VECTOR[None]), "float32 of shape (1, 64)"),
        ((0, 1.0), "float64 of shape ()"),
        ((0, ["a"] * HIDDEN), "of shape (64,)"),
        ((0, [True] * HIDDEN), "bool of shape (64,)"),
        ((0, [[1.0], [1.0, 2.0]]), "vector="),
        ((0, VECTOR.astype(complex)), "complex128"),
        ((0, None), "vector="),
        ((0, _with(5, np.nan)), "vector[5]=nan"),
        ((0, _with(6, np.inf)), "vector[6]=inf"),
        ((0, _with(7, 1e39)), "vector[7]=1e+39"),
        ((0, VECTOR, float("nan")), "scale=nan"),
        ((0, VECTOR, "1"), "scale='1'"),
        ((0, VECTOR, True), "scale=True"),
        ((0, VECTOR, 1e300), "scale=1e+300"),
        ((0, VECTOR, 1.0, [-1]), "positions=-1"),
        ((0, VECTOR, 1.0, 3), "positions=3"),
        ((0, VECTOR, 1.0, [1.5]), "positions=1.5"),
        ((0, VECTOR, 1.0, range(-2, 4)), "positions=-2"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_name(tiny: LLM, arguments: tuple, named: str) -> None:
    with pytest.raises(ParameterError) as refused:
        tiny.steer(*arguments)
    assert named in str(refused.value)


def test_a_steering_is_plain_data_that_survives_json() -> None:
    steers = Steer(1, VECTOR.tobytes(), -1.5, ((2, 4), (7, 8))), Steer(0, OTHER.tobytes())
    steering = Steering(steers)
    again = Steering.from_json(json.loads(json.dumps(steering.to_json())))
    assert again == steering and again.digest == steering.digest != Steering().digest
    assert [push.layer for push in again.pushes] == [0, 1]
    assert list(again.pushes[1].rows(3, 6)) == [slice(0, 1), slice(4, 5)]


def _lists(count: int, seed: int) -> list[list[str]]:
    """Four digits each, neither sorted nor backwards sorted."""
    draw, lists = random.Random(seed), []
    while len(lists) < count:
        digits = draw.sample("123456789", 4)
        if sorted(digits) not in (digits, digits[::-1]):
            lists.append(digits)
    return lists


def _asked(skill: str, digits: list[str]) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"{skill}: {' '.join(digits)}"}]


def test_the_bundled_model_asked_to_sort_copies_when_pushed_from_sorting_to_copying(demo: LLM) -> None:
    """The mean state of "Copy: ..." less that of "Sort: ...", after layer 2 of 6, added twice.

    Measured on 24 other lists: without it 23 are sorted and none copied, with it none and 12. Six random vectors of
    the same length spoil sorting as well (3 to 13 sorted), but they copied 2 of 144: it is the direction that tells
    the model what to do. Backwards it copied none.
    """
    layer, known, asked = 2, _lists(24, seed=1), _lists(24, seed=2)

    def mean_state(skill: str) -> np.ndarray:
        captured = demo.capture([_asked(skill, digits) for digits in known], [layer])
        assert isinstance(captured, list)
        return np.mean([states.layers[layer].mean(0) for states in captured], 0)

    def answers(vector: np.ndarray, scale: float) -> list[list[str]]:
        with demo.steer(layer, vector, scale):
            results = demo.chat(
                [_asked("Sort", digits) for digits in asked], SamplingParams(temperature=0, max_tokens=12)
            )
        return [result.text.split() for result in results]

    push = mean_state("Copy") - mean_state("Sort")
    plain, pushed = answers(push, 0.0), answers(push, 2.0)
    copies, in_order = asked, [sorted(digits) for digits in asked]
    assert _equal(plain, in_order) >= 20 and _equal(plain, copies) == 0
    assert _equal(pushed, in_order) <= 4 and _equal(pushed, copies) >= 8
    astray = [answers(_as_long_as(push, seed), 2.0) for seed in range(6)]
    assert sum(_equal(found, copies) for found in astray) <= 7  # of 144; of 24 pushed ones at least 8


def _as_long_as(vector: np.ndarray, seed: int) -> np.ndarray:
    """A random vector of the same length."""
    other = np.random.default_rng(seed).normal(size=len(vector))
    return other * np.linalg.norm(vector) / np.linalg.norm(other)


def _equal(found: list[list[str]], wanted: list[list[str]]) -> int:
    return sum(one == other for one, other in zip(found, wanted, strict=True))
