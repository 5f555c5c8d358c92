"""Hidden states: those of transformers, at every layer, and the same bits in any company."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from aphrodite_engine.errors import ContextOverflowError, ParameterError, UnsupportedModelError
from aphrodite_engine.inside.hidden_states import Capture, HiddenStates
from aphrodite_engine.llm import LLM
from aphrodite_engine.models.layer_stack import LayerSearch
from aphrodite_engine.outputs import TokenEvent
from aphrodite_engine.params import SamplingParams
from tests.engine.inside import all_blocks_free, engine_of, hidden_of, wait_until
from tests.engine.models.checkpoints import reference, write_checkpoint
from tests.engine.tiny import VOCAB

pytestmark = pytest.mark.slow

IDS = [5 + (7 * place) % 100 for place in range(40)]
SLOWER = ("gemma2", "gemma3", "mixtral", "gpt_neox", "stablelm")
TEXTS = st.lists(st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=60), min_size=1, max_size=5)


@pytest.fixture(scope="module")
def chunked(tiny_folder: Path) -> Iterator[LLM]:
    with LLM(tiny_folder, max_num_batched_tokens=7) as llm:
        yield llm


def one(llm: LLM, ids: list[int], **more: object) -> HiddenStates:
    states = llm.capture(ids, **more)  # type: ignore[arg-type]
    assert isinstance(states, HiddenStates)
    return states


def same(first: HiddenStates, second: HiddenStates) -> bool:
    layers = first.layers.keys() == second.layers.keys()
    return layers and np.array_equal(first.final, second.final) and all(
        np.array_equal(states, second.layers[layer]) for layer, states in first.layers.items()
    )  # fmt: skip


@torch.inference_mode()
def _residual_streams(folder: Path, ids: list[int]) -> list[np.ndarray]:
    """transformers' own: the embeddings, then the stream after each layer but the last, then the final norm's."""
    hidden = reference(folder)(torch.tensor([ids]), output_hidden_states=True).hidden_states
    return [states[0].numpy() for states in hidden]


@pytest.mark.parametrize(
    "kind", ["llama", "qwen3", "gpt2", "opt", *(pytest.param(kind, marks=pytest.mark.slow) for kind in SLOWER)]
)
def test_states_are_those_of_transformers(tmp_path: Path, kind: str) -> None:
    folder = write_checkpoint(tmp_path, kind, changes={"num_hidden_layers": 3} if kind == "llama" else None)
    theirs = _residual_streams(folder, IDS)
    with LLM(folder) as llm:
        states = one(llm, IDS)
        count = llm.facts.num_layers
    assert list(states.layers) == list(range(count)) and len(theirs) == count + 1
    for layer in range(count - 1):
        np.testing.assert_allclose(states.layers[layer], theirs[layer + 1], atol=1e-4)
    np.testing.assert_allclose(states.final, theirs[-1], atol=1e-4)
    assert states.final.dtype == states.layers[0].dtype == np.float32


@pytest.mark.parametrize("kind", ["bert", "roberta"])
@torch.inference_mode()
def test_an_encoders_states_are_those_of_transformers(tmp_path: Path, kind: str) -> None:
    folder = write_checkpoint(tmp_path, kind)
    model = transformers.AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    theirs = model(torch.tensor([IDS]), output_hidden_states=True).hidden_states
    with LLM(folder) as llm:
        states = one(llm, IDS)
        with pytest.raises(UnsupportedModelError, match="encoder"):
            llm.lens(IDS)
        with pytest.raises(UnsupportedModelError, match="encoder"):
            llm.steer(0, [0.0] * 64)
    for layer, found in states.layers.items():
        np.testing.assert_allclose(found, theirs[layer + 1][0].numpy(), atol=1e-4)
    assert np.array_equal(states.final, states.layers[1])


@pytest.mark.parametrize("kind", ["llama", "gpt2", "opt"])
def test_the_last_layer_leads_to_the_final_states_and_half_precision_is_told_exactly(tmp_path: Path, kind: str) -> None:
    with LLM(write_checkpoint(tmp_path, kind), dtype="bfloat16") as llm:
        states = one(llm, IDS)
        model = engine_of(llm).runner.model
        finished = model.finish(torch.from_numpy(states.layers[llm.facts.num_layers - 1]))
        assert np.array_equal(finished.float().numpy(), states.final)
        assert np.array_equal(hidden_of(llm, IDS).float().numpy(), states.final)


@given(texts=TEXTS)
@settings(max_examples=15)
def test_a_prompt_has_the_same_bits_alone_in_a_batch_in_chunks_and_cached(
    tiny: LLM, chunked: LLM, texts: list[list[int]]
) -> None:
    alone = [one(tiny, text) for text in texts]
    batched, in_chunks = tiny.capture(texts), chunked.capture(texts)
    assert isinstance(batched, list) and isinstance(in_chunks, list)
    assert all(map(same, batched, alone)) and all(map(same, in_chunks, alone))
    assert [len(states.final) for states in batched] == [len(text) for text in texts]


def test_cached_positions_are_computed_again(tiny: LLM) -> None:
    params = SamplingParams(max_tokens=1)
    tiny.generate(IDS, params)
    assert tiny.generate(IDS, params)[0].num_cached_tokens == 32
    assert len(one(tiny, IDS, layers=[0]).layers[0]) == len(IDS)
    tiny.capture([99, *IDS])
    assert tiny.generate([99, *IDS], params)[0].num_cached_tokens == 32  # what was computed is of use to others


def test_a_prompt_beside_generating_ones_has_the_same_bits_and_so_have_they(tiny: LLM) -> None:
    params = SamplingParams(max_tokens=30, seed=3, ignore_eos=True, logprobs=2)
    alone, states = tiny.generate([9, 8, 7], params)[0].outputs, one(tiny, IDS)
    stream = tiny.stream([9, 8, 7], params)
    events = [next(stream)]
    assert same(one(tiny, IDS), states)
    events += stream
    assert [i for event in events for i in event.token_ids] == alone[0].token_ids
    assert [p for event in events for p in event.logprobs or ()] == alone[0].logprobs


def test_a_prompt_preempted_half_way_has_the_same_bits(tiny: LLM, tiny_folder: Path) -> None:
    ids, answers = list(range(48)), queue.SimpleQueue[TokenEvent]()
    with LLM(tiny_folder, max_model_len=112, kv_cache_memory=7 * 16 * 512, max_num_batched_tokens=2) as llm:
        endless = llm._admission.admit([9] * 60, SamplingParams(max_tokens=None, ignore_eos=True))
        request = llm._admission.admit(ids, SamplingParams(), capture=Capture((0, 1)))
        llm._running_loop().submit(endless, lambda event: None)
        llm._running_loop().submit(request, answers.put)
        found = answers.get(timeout=60).captured
        assert engine_of(llm).scheduler.num_preemptions > 0
    states = one(tiny, ids)
    assert found is not None and found.keys() == {0, 1, 2}
    assert all(np.array_equal(found[layer][0], states.layers[layer]) for layer in (0, 1))
    assert np.array_equal(found[2][0], states.final)


def test_layers_may_be_chosen_and_counted_from_the_end(tiny: LLM) -> None:
    everything = one(tiny, IDS)
    assert list(one(tiny, IDS, layers=[-1, 0, 1]).layers) == [1, 0]
    assert np.array_equal(one(tiny, IDS, layers=[-2]).layers[0], everything.layers[0])


def test_tokens_are_told_and_conversations_taken(tiny: LLM) -> None:
    states = tiny.capture("abc")
    assert isinstance(states, HiddenStates)
    assert states.tokens == ("<s>", "a", "b", "c") and len(states.token_ids) == 4
    chat = tiny.capture([{"role": "user", "content": "abc"}])
    assert isinstance(chat, HiddenStates) and chat.tokens[1] == "<|user|>" and chat.tokens[-1] == "<|assistant|>"
    several = tiny.capture(["abc", "x"], layers=[0])
    assert isinstance(several, list) and [len(found.tokens) for found in several] == [4, 2]
    assert repr(states) == "HiddenStates(4 tokens x 64, after layers 0, 1)"


def test_the_asynchronous_twin_gives_the_same(tiny: LLM) -> None:
    states = asyncio.run(tiny.acapture(IDS))
    assert isinstance(states, HiddenStates) and same(states, one(tiny, IDS))


@pytest.mark.parametrize("layers", [[2], [0, -3], ["0"], [True], [], "01", 1, [0.0], [None]])
def test_what_is_no_layer_is_refused_by_name(tiny: LLM, layers: object) -> None:
    with pytest.raises(ParameterError, match=r"^layers="):
        tiny.capture(IDS, layers)  # type: ignore[arg-type]


def test_a_prompt_may_fill_the_context_and_no_more(tiny: LLM) -> None:
    assert len(one(tiny, [7] * tiny.max_model_len, layers=[0]).final) == tiny.max_model_len
    with pytest.raises(ContextOverflowError):
        tiny.capture([7] * (tiny.max_model_len + 1))


def test_blocks_are_free_afterwards(tiny: LLM) -> None:
    tiny.capture(["ab" * 30] * 5)
    wait_until(lambda: all_blocks_free(tiny))


def test_a_model_whose_layers_cannot_be_found_generates_but_is_not_reached_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_checkpoint(tmp_path, "gpt2")
    with LLM(folder) as llm:
        expected = llm.generate(IDS, SamplingParams(temperature=0, max_tokens=5))[0].token_ids
    monkeypatch.setattr(LayerSearch, "found", lambda self: None)
    with LLM(folder) as llm:
        assert llm.generate(IDS, SamplingParams(temperature=0, max_tokens=5))[0].token_ids == expected
        for ask in (lambda: llm.capture(IDS), lambda: llm.lens(IDS), lambda: llm.steer(0, [0.0] * 64)):
            with pytest.raises(UnsupportedModelError, match=r"GPT2LMHeadModel.*2 layers"):
                ask()


class _Body(torch.nn.Module):
    """Two lists of as many modules; the first returns the stream, the second runs inside of it."""

    def __init__(self, backwards: bool = False, width: int = 4) -> None:
        super().__init__()
        self.blocks = torch.nn.ModuleList(torch.nn.Linear(4, width) for _ in range(2))
        self.scales = torch.nn.ModuleList(torch.nn.Linear(4, 3) for _ in range(2))
        self.order = (1, 0) if backwards else (0, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for place in self.order:
            self.scales[place](x)
            x = self.blocks[place](x)[..., :4]
        return x


@pytest.mark.parametrize(
    ("body", "found"), [(_Body(), True), (_Body(backwards=True), False), (_Body(width=5), False)], ids=str
)
def test_layers_are_known_by_what_they_do(body: _Body, found: bool) -> None:
    search = LayerSearch(body, num_layers=2, hidden_size=4)
    with search.watching():
        body(torch.zeros(1, 3, 4))
    stack = search.found()
    assert (stack is not None) == found
    assert stack is None or list(stack.layers) == list(body.blocks)
