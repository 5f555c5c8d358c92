"""The engine's promises on the device that is there; `make gpu` runs this file on a card: same bits, no memory kept."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from aphrodite_engine.llm import LLM
from aphrodite_engine.params import SamplingParams

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
PROMPTS = [[(5 * place + row) % 250 for place in range(length)] for row, length in enumerate((3, 40, 17, 70, 1))]
PARAMS = [
    SamplingParams(temperature=temperature, top_p=0.9, seed=row, max_tokens=24, logprobs=3, ignore_eos=True)
    for row, temperature in enumerate((0.0, 0.8, 1.2, 0.8, 1.0))
]


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


@pytest.mark.gpu
@pytest.mark.skipif(DEVICE == "cpu", reason="needs a CUDA device")
def test_close_returns_all_device_memory(tiny_folder: Path) -> None:
    def used() -> int:
        gc.collect()
        torch.cuda.empty_cache()
        return torch.cuda.memory_allocated()

    with LLM(tiny_folder, device="cuda") as warm:  # what CUDA's libraries keep is there before and after
        warm.generate(PROMPTS, PARAMS)
    before = used()
    engine = LLM(tiny_folder, device="cuda")
    engine.generate(PROMPTS, PARAMS)
    assert used() > before
    engine.close()
    assert used() == before


@pytest.mark.gpu
@pytest.mark.skipif(DEVICE == "cpu", reason="needs a CUDA device")
def test_greedy_tokens_in_float32_equal_those_of_the_cpu(tiny_folder: Path) -> None:
    greedy = SamplingParams(temperature=0.0, max_tokens=32, ignore_eos=True)
    found = []
    for device in ("cpu", "cuda"):
        with LLM(tiny_folder, device=device, dtype="float32") as engine:
            found.append([list(result.token_ids) for result in engine.generate(PROMPTS, greedy)])
    assert found[0] == found[1]
