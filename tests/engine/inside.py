"""What tests may see of an LLM's inside."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec

import pytest
import torch

from aphrodite_engine.config import EngineConfig
from aphrodite_engine.engine import Engine
from aphrodite_engine.kv_cache import BLOCK_SIZE
from aphrodite_engine.llm import LLM
from aphrodite_engine.models.base import KVTensors
from aphrodite_engine.running.batch import BatchEntry, build_batch
from aphrodite_engine.running.decode_graphs import DecodeGraphs
from aphrodite_engine.running.decode_state import DecodeState
from aphrodite_kernels.kv_store import allocate_kv

CPU = torch.device("cpu")
#: What an engine chooses by itself, so where its tests run: CUDA where there is a card (CUDA_VISIBLE_DEVICES hides it).
DEVICE = EngineConfig().torch_device()
needs_llguidance = pytest.mark.skipif(find_spec("llguidance") is None, reason="llguidance is not installed")


def examples(count: int) -> int:
    """How many examples of a property; `make gpu` has nine minutes, and `make test` looks at them all on the CPU."""
    return count if DEVICE.type == "cpu" else max(3, count // 4)


def engine_of(llm: LLM) -> Engine:
    assert llm._loaded is not None and llm._loaded.engine is not None
    return llm._loaded.engine


def all_blocks_free(llm: LLM) -> bool:
    pool = engine_of(llm).scheduler.pool
    return pool.num_free == pool.num_blocks


def replay_steps(monkeypatch: pytest.MonkeyPatch, llm: LLM, num_rows: int | None = None) -> DecodeGraphs:
    """Let an engine decode by graphs, without a GPU: what was captured is called again, and finds all that it needs in
    the tensors that it had the first time."""
    runner = engine_of(llm).runner
    state = DecodeState(num_rows or llm.config.max_num_seqs, llm.max_model_len, BLOCK_SIZE, runner.device)
    graphs = DecodeGraphs(runner.model, runner.kv, state, lambda step: step)
    monkeypatch.setattr(runner, "graphs", graphs)
    return graphs


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """The engine's thread acts between steps: give it time, but not for ever."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


@torch.inference_mode()
def hidden_of(llm: LLM, token_ids: Sequence[int]) -> torch.Tensor:
    """Final hidden states (T, hidden) of one sequence, computed in one piece over a cache of its own."""
    model, num_blocks = engine_of(llm).runner.model, -(-len(token_ids) // BLOCK_SIZE)
    dtype = llm.config.torch_dtype(model.config.dtype)
    layers = [
        allocate_kv(num_blocks, BLOCK_SIZE, spec.num_kv_heads, spec.head_dim, dtype, DEVICE)
        for spec in model.config.kv_layers
    ]
    entry = BatchEntry(token_ids, 0, range(num_blocks), 0, ())
    return model.forward(build_batch([entry], BLOCK_SIZE, DEVICE), KVTensors(BLOCK_SIZE, layers))


@torch.inference_mode()
def logits_of(llm: LLM, token_ids: Sequence[int]) -> torch.Tensor:
    """Logits (T, V) of one sequence, straight from the model."""
    return engine_of(llm).runner.model.logits(hidden_of(llm, token_ids))
