"""Embeddings of a decoder: pooled from the right rows, the same bits in any company."""

from __future__ import annotations

import json
import queue
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aphrodite_engine.embedding import normalized
from aphrodite_engine.llm import LLM
from aphrodite_engine.outputs import TokenEvent
from aphrodite_engine.params import SamplingParams
from tests.engine.inside import all_blocks_free, engine_of, hidden_of, wait_until
from tests.engine.tiny import VOCAB, write_tiny_llama

TEXTS = st.lists(st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=60), min_size=1, max_size=6)
Pooling = Literal["mean", "last"]


@pytest.fixture(scope="module")
def chunked(tiny_folder: Path):
    with LLM(tiny_folder, max_num_batched_tokens=7) as llm:
        yield llm


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_a_vector_is_pooled_from_the_final_hidden_states(tiny: LLM, pooling: Pooling) -> None:
    ids = list(range(40))
    hidden = hidden_of(tiny, ids)
    expected = hidden.mean(0) if pooling == "mean" else hidden[-1]
    (vector,) = tiny.embed(ids, pooling=pooling, normalize=False)
    assert vector.dtype == np.float32
    assert np.array_equal(vector, expected.numpy())


@pytest.mark.parametrize("pooling", ["mean", "last"])
@given(texts=TEXTS)
@settings(max_examples=15)
def test_a_text_has_the_same_bits_alone_in_a_batch_in_chunks_and_cached(
    tiny: LLM, chunked: LLM, pooling: Pooling, texts: list[list[int]]
) -> None:
    alone = np.stack([tiny.embed(text, pooling=pooling)[0] for text in texts])
    assert np.array_equal(tiny.embed(texts, pooling=pooling), alone)
    assert np.array_equal(tiny.embed(texts[::-1], pooling=pooling), alone[::-1])
    assert np.array_equal(chunked.embed(texts, pooling=pooling), alone)


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_a_text_preempted_half_way_has_the_same_bits(tiny: LLM, tiny_folder: Path, pooling: Pooling) -> None:
    ids, vectors = list(range(48)), queue.SimpleQueue[TokenEvent]()
    with LLM(tiny_folder, max_model_len=112, kv_cache_memory=7 * 16 * 512, max_num_batched_tokens=2) as llm:
        endless = llm._admission.admit([9] * 60, SamplingParams(max_tokens=None, ignore_eos=True))
        request = llm._admission.admit(ids, SamplingParams(), pooling=pooling)
        llm._running_loop().submit(endless, lambda event: None)
        llm._running_loop().submit(request, vectors.put)
        vector = vectors.get(timeout=60).embedding
        assert engine_of(llm).scheduler.num_preemptions > 0
    assert np.array_equal(vector, tiny.embed(ids, pooling=pooling, normalize=False)[0])  # type: ignore[arg-type]


def test_vectors_have_length_one_unless_asked_not_to(tiny: LLM) -> None:
    np.testing.assert_allclose(np.linalg.norm(tiny.embed(["a", "bcd"]), axis=1), 1.0, rtol=1e-6)
    assert abs(np.linalg.norm(tiny.embed("a", normalize=False)) - 1) > 0.1


def test_a_zero_vector_stays_zero() -> None:
    assert np.array_equal(normalized(np.zeros((1, 4), np.float32)), np.zeros((1, 4), np.float32))


def test_a_score_is_the_cosine_to_each_text(tiny: LLM) -> None:
    vectors = tiny.embed(["ab", "ab", "xy"])
    scores = tiny.score("ab", ["ab", "xy"])
    assert scores == pytest.approx([1.0, float(vectors[0] @ vectors[2])], abs=1e-6)
    assert tiny.score("ab", "ab") == pytest.approx([1.0], abs=1e-6)


def test_a_decoder_pools_its_last_token_unless_the_folder_says_otherwise(tiny: LLM, tmp_path: Path) -> None:
    assert np.array_equal(tiny.embed("abc"), tiny.embed("abc", pooling="last"))
    folder = write_tiny_llama(tmp_path)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    with LLM(folder) as llm:
        assert np.array_equal(llm.embed("abc"), tiny.embed("abc", pooling="mean"))


def test_embedding_and_generating_share_the_engine(tiny: LLM) -> None:
    params = SamplingParams(max_tokens=20, seed=1, ignore_eos=True)
    text, vector = tiny.generate("ab", params)[0].text, tiny.embed("xyz" * 10)
    stream = tiny.stream("ab", params)
    pieces = [next(stream).text]
    assert np.array_equal(tiny.embed("xyz" * 10), vector)
    assert "".join([*pieces, *(event.text for event in stream)]) == text


def test_blocks_are_free_afterwards(tiny: LLM) -> None:
    tiny.embed(["ab" * 30] * 10)
    wait_until(lambda: all_blocks_free(tiny))


def test_the_vector_of_a_batch_does_not_keep_the_batch_in_memory(tiny: LLM) -> None:
    vectors = tiny.embed([[1] * 200] * 3)
    assert vectors.base is None or vectors.base.nbytes < 10_000
    assert isinstance(vectors, np.ndarray) and not isinstance(vectors, torch.Tensor)
