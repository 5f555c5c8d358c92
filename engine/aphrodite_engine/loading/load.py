"""From a model folder and a plan to an engine ready to step."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from aphrodite_engine.config import EngineConfig
from aphrodite_engine.engine import Engine
from aphrodite_engine.kv_cache import BLOCK_SIZE, BlockPool
from aphrodite_engine.loading.plan import MemoryPlan, plan_measured
from aphrodite_engine.models.base import Decoder, Encoder, KVTensors, LoadOptions, ModelConfig, kv_tensors
from aphrodite_engine.models.registry import load_decoder, load_encoder
from aphrodite_engine.running.current_device import current
from aphrodite_engine.running.decode_graphs import CudaCapture, DecodeGraphs
from aphrodite_engine.running.decode_state import DecodeState
from aphrodite_engine.running.runner import Runner
from aphrodite_engine.running.trial_step import measured_needs
from aphrodite_engine.scheduler import Scheduler
from aphrodite_engine.tokenizer import Tokenizer
from aphrodite_kernels.threads import physical_cores

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "tokenizer_config.json")


@dataclass
class Loaded:
    """A model in memory: an engine for a decoder, an encoder otherwise.

    Attributes:
        plan: of what was allocated; on a GPU it may be another than what was planned before.
    """

    facts: ModelConfig
    plan: MemoryPlan
    device: torch.device
    tokenizer: Tokenizer | None
    eos_token_ids: tuple[int, ...]
    engine: Engine | None
    encoder: Encoder | None

    def release(self) -> None:
        """Let go of weights, cache and graphs."""
        if self.engine is not None:
            self.engine.runner.release()
        self.engine = None
        self.encoder = None


def load(
    facts: ModelConfig, plan: MemoryPlan, config: EngineConfig, report: Callable[[int, int], None] | None
) -> Loaded:
    """Read the weights, allocate the cache that the plan names: on a GPU, once a step was run to see what it takes.

    Raises:
        MemoryPlanError: the step took more than was planned, and nothing is left for a cache.
    """
    device = config.torch_device()
    if device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(physical_cores())
    tokenizer = Tokenizer(facts.folder) if any((facts.folder / name).exists() for name in TOKENIZER_FILES) else None
    eos = tuple(dict.fromkeys((*facts.eos_token_ids, *(tokenizer.eos_token_ids if tokenizer else ()))))
    options = LoadOptions(
        device=device,
        dtype=config.torch_dtype(facts.dtype),
        determinism=config.determinism,
        quantization=config.quantization,
        trust_remote_code=config.trust_remote_code,
        progress=report,
    )
    with current(device):
        if facts.path == "encoder":
            return Loaded(facts, plan, device, tokenizer, eos, None, load_encoder(facts, options))
        model = load_decoder(facts, options)
        if device.type == "cuda" and config.kv_cache_memory is None:
            plan = plan_measured(plan, facts, config, measured_needs(model, plan, config))
        furnish = partial(_working_memory, model, plan, config)
        runner = Runner(model, device, furnish, draws_on_device=config.runs_ahead)
    engine = Engine(
        runner,
        Scheduler(BlockPool(plan.kv_blocks), config.step_tokens, config.max_num_seqs, config.enable_prefix_caching),
        tokenizer,
        model_key=str(facts.folder),
        vocab_size=facts.vocab_size,
        max_model_len=plan.max_model_len,
        eos_token_ids=eos,
        run_ahead=config.runs_ahead,
    )
    return Loaded(facts, plan, device, tokenizer, eos, engine, None)


def _working_memory(model: Decoder, plan: MemoryPlan, config: EngineConfig) -> tuple[KVTensors, DecodeGraphs | None]:
    """The KV cache, and the graphs that will be captured over it."""
    device, dtype = config.torch_device(), config.torch_dtype(model.config.dtype)
    kv = kv_tensors(model.config, plan.kv_blocks, dtype, device)
    if not config.uses_graphs(model.config):
        return kv, None
    state = DecodeState(config.graph_rows, plan.max_model_len, BLOCK_SIZE, device)
    return kv, DecodeGraphs(model, kv, state, CudaCapture(device))
