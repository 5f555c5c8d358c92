"""What a step takes of a GPU's memory: one of the largest is run, before the KV cache gets what is left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from aphrodite_engine.config import EngineConfig
from aphrodite_engine.kv_cache import BLOCK_SIZE
from aphrodite_engine.loading.memory import free_bytes, return_to_system
from aphrodite_engine.loading.plan import MemoryPlan, Needs
from aphrodite_engine.models.base import Decoder, KVTensors, kv_tensors
from aphrodite_engine.params import SamplingParams
from aphrodite_engine.running.batch import Batch, BatchEntry, build_batch
from aphrodite_engine.sampling.fused import ask_of
from aphrodite_engine.sampling.on_device import draw_on_device
from aphrodite_engine.sampling.row import SamplerRow

#: Attention cuts the work of few rows into parts, whose sums take up to 128 MiB (aphrodite_kernels.gpu.attention,
#: WORKSPACE). A step of many rows, such as the trial, may need none of it.
PARTS = 128 << 20
#: Steps of other sizes leave holes between each other's tensors.
HOLES = 1.1


def measured_needs(model: Decoder, plan: MemoryPlan, config: EngineConfig) -> Needs:
    """Run a step of max_num_batched_tokens tokens, with logits and draws for as many rows as there may be, and see.

    Args:
        plan: the estimate, made before the model was loaded.
    """
    device, rows = config.torch_device(), config.max_num_seqs
    kv = kv_tensors(model.config, 1, config.torch_dtype(model.config.dtype), device)
    batch = trial_batch(config.step_tokens, rows, plan.max_model_len, device)
    activations = _peak(device, lambda: trial_step(model, batch, kv))
    graphs = 0
    if config.uses_graphs(model.config):
        decoding = trial_batch(config.graph_rows, rows, plan.max_model_len, device)
        logits = 4 * config.graph_rows * model.config.vocab_size
        graphs = int(HOLES * _peak(device, lambda: model.forward(decoding, kv))) + PARTS + logits
    return_to_system(device)
    taken = plan.free_bytes + config.reserved_memory - free_bytes(device)
    return Needs(
        weights=plan.weight_bytes,
        activations=int(HOLES * activations) + PARTS,
        graphs=graphs,
        other=max(0, taken - plan.weight_bytes),
        measured=True,
    )


def trial_batch(num_tokens: int, most_rows: int, max_model_len: int, device: torch.device) -> Batch:
    """Tokens shared out among as many sequences as there may be, with tables as wide as the longest sequence's. They
    store nothing, and see block 0 wherever they look."""
    rows = min(num_tokens, most_rows)
    length = min(num_tokens // rows, max_model_len)
    table = [0] * -(-max_model_len // BLOCK_SIZE)
    entry = BatchEntry([0] * length, 0, table, first_stored=length, logit_offsets=(length - 1,))
    return build_batch([entry] * rows, BLOCK_SIZE, device)


@torch.inference_mode()
def trial_step(model: Decoder, batch: Batch, kv: KVTensors) -> torch.Tensor:
    """Run it to its draws, by the steps that are asked for most, together and one by one."""
    logits = model.logits(model.forward(batch, kv)[batch.logit_rows])
    params = SamplingParams(temperature=0.8, top_k=50, top_p=0.9, min_p=0.05)
    rows = [SamplerRow(params, r, 0, 1, (0,), 1, (), None) for r in range(len(logits))]
    draw_on_device(logits, [replace(row, ask=ask_of(params)) for row in rows])  # by one op, where there is one
    return draw_on_device(logits, rows)


def _peak(device: torch.device, work: Callable[[], object]) -> int:
    """Bytes that torch held at the most while something ran, more than before."""
    stream = torch.cuda.current_stream(device)  # not the whole device: another engine may be capturing a graph there
    stream.synchronize()
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    with torch.inference_mode():
        work()
    stream.synchronize()
    return torch.cuda.max_memory_allocated(device) - before
