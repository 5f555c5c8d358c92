"""What a model will take before anything is taken."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from aphrodite_engine.config import EngineConfig
from aphrodite_engine.errors import MemoryPlanError, ParameterError
from aphrodite_engine.kv_cache import BLOCK_SIZE
from aphrodite_engine.loading.hub import resolve_model
from aphrodite_engine.loading.memory import free_bytes, total_bytes
from aphrodite_engine.models.base import ModelConfig
from aphrodite_engine.models.registry import read_model_config
from aphrodite_kernels.kv_store import kv_bytes_per_block

#: A laptop must survive the default: KV on the CPU takes at most this and at most a quarter of what is free.
CPU_KV_LIMIT = 2 << 30
CPU_KV_SHARE = 0.25


@dataclass(frozen=True)
class Needs:
    """Bytes that a model takes beside its KV cache.

    Attributes:
        activations: the most that one step takes on its way.
        graphs: the CUDA graphs, with the logits that they write.
        other: what the device's libraries and the kernels' code have taken while the model was loaded.
        measured: whether a step was run to see (running.trial_step), or sizes are estimated.
    """

    weights: int
    activations: int
    graphs: int = 0
    other: int = 0
    measured: bool = False

    @property
    def total(self) -> int:
        return self.weights + self.activations + self.graphs + self.other


def kv_room(free: int, total: int, share: float, needs: Needs) -> int:
    """Bytes that are left for a KV cache; below 0 where not even the rest fits.

    Args:
        free: of the device before the model was loaded.
        total: all memory of the device, of which 1 - share stays free whatever else takes some.
    """
    return free - int((1 - share) * total) - needs.total


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes by purpose; `str(plan)` is a table for people.

    Attributes:
        measured: whether the KV cache was planned from what a step took, which is known once the weights are loaded, or
            from an estimate.
        activation_bytes, graph_bytes, other_bytes: see Needs.
        kv_blocks: blocks of 16 tokens each.
        free_bytes: before anything is taken, less what is reserved.
        max_model_len: longest sequence, at most what the model was made for and what the KV cache holds.
        note: what was cut to fit, and the setting that changes it; "" where nothing was.
    """

    model: str
    architecture: str
    path: str
    dtype: str
    device: str
    num_parameters: int
    weight_bytes: int
    kv_bytes: int
    kv_blocks: int
    kv_bytes_per_token: int
    activation_bytes: int
    free_bytes: int
    total_bytes: int
    max_model_len: int
    model_context: int
    note: str = ""
    quantization: str | None = None
    graph_bytes: int = 0
    other_bytes: int = 0
    measured: bool = False

    @property
    def left_bytes(self) -> int:
        """What stays free."""
        taken = self.weight_bytes + self.kv_bytes + self.activation_bytes + self.graph_bytes + self.other_bytes
        return self.free_bytes - taken

    def __str__(self) -> str:
        held_as = f", as {self.quantization}" if self.quantization else ""
        rows = [
            ("model", f"{self.model} ({self.architecture}, {self.path} path)"),
            ("on", f"{self.device}, {self.dtype}"),
            ("weights", f"{_size(self.weight_bytes)} ({self.num_parameters:,} parameters{held_as})"),
            ("KV cache", self._kv_line()),
            ("activations", f"{'' if self.measured else 'about '}{_size(self.activation_bytes)} at most"),
            *self._graph_lines(),
            ("left free", f"{_size(self.left_bytes)} of {_size(self.free_bytes)} free now"),
            ("context", f"{self.max_model_len:,} of the model's {self.model_context:,} tokens"),
        ]
        if self.device != "cpu":
            rows.append(("planned", "from a step that was run" if self.measured else "from estimates"))
        if self.note:
            rows.append(("note", self.note))
        return "\n".join(f"{name:<12} {value}" for name, value in rows)

    def _graph_lines(self) -> list[tuple[str, str]]:
        parts = [("CUDA graphs", self.graph_bytes), ("CUDA itself", self.other_bytes)]
        return [(name, f"{'' if self.measured else 'about '}{_size(part)}") for name, part in parts if part]

    def _kv_line(self) -> str:
        if self.kv_blocks == 0:
            return "none (an encoder)"
        tokens = self.kv_blocks * BLOCK_SIZE
        return f"{_size(self.kv_bytes)} ({tokens:,} tokens, {_size(self.kv_bytes_per_token)} each)"


def plan_memory(model: str, config: EngineConfig | None = None) -> MemoryPlan:
    """Plan for a model folder, Hugging Face id or "demo"; reads headers only.

    Raises:
        ModelError: no such model, or one that cannot run here.
        MemoryPlanError: it does not fit; names the numbers and the setting to change.
    """
    config = config or EngineConfig()
    folder = resolve_model(model, config.download_dir, config.revision, config.offline)
    return plan_for(model, read_model_config(folder, trust_remote_code=config.trust_remote_code), config)


def plan_for(model: str, facts: ModelConfig, config: EngineConfig) -> MemoryPlan:
    """The same for a model folder already read. `facts.weight_bytes` is counted again at the engine's dtype."""
    needs = Needs(
        _weight_bytes(facts, config, config.torch_dtype(facts.dtype)),
        _activation_bytes(facts, config),
        _graph_bytes(facts, config) if config.uses_graphs(facts) else 0,
    )
    free = max(0, free_bytes(config.torch_device()) - config.reserved_memory)
    return _plan(model, facts, config, free, needs)


def plan_measured(estimated: MemoryPlan, facts: ModelConfig, config: EngineConfig, needs: Needs) -> MemoryPlan:
    """The plan again, with what a step took in place of estimates.

    Raises:
        MemoryPlanError: it does not fit after all.
    """
    return _plan(estimated.model, facts, config, estimated.free_bytes, needs)


def _plan(model: str, facts: ModelConfig, config: EngineConfig, free: int, needs: Needs) -> MemoryPlan:
    device, dtype = config.torch_device(), config.torch_dtype(facts.dtype)
    total, share = total_bytes(device), 1.0 if device.type == "cpu" else config.gpu_memory_utilization
    room = kv_room(free, total, share, needs)
    if room < 0:
        raise MemoryPlanError(
            f"{model}: weights {_size(needs.weights)} and activations {_size(needs.total - needs.weights)} do not fit "
            f"the {_size(room + needs.total)} that may be used on {device}{_reserved(config)}; try "
            "dtype=bfloat16, quantization=int8, a smaller max_num_batched_tokens, or a smaller model"
        )
    per_block = sum(kv_bytes_per_block(BLOCK_SIZE, s.num_kv_heads, s.head_dim, dtype) for s in facts.kv_layers)
    context = min(config.max_model_len or facts.max_position, facts.max_position)
    if config.max_model_len is not None and config.max_model_len > facts.max_position:
        raise ParameterError("max_model_len", config.max_model_len, f"the model was made for {facts.max_position}")
    blocks, note = 0, ""
    if per_block:
        blocks = _kv_bytes(device, room, per_block * _blocks(context) * config.max_num_seqs, config) // per_block
        context, note = _fit_context(model, context, blocks, per_block, config)
    return MemoryPlan(
        model=model,
        architecture=facts.architecture,
        path=facts.path,
        dtype=str(dtype).removeprefix("torch."),
        device=str(device),
        num_parameters=facts.num_parameters,
        weight_bytes=needs.weights,
        kv_bytes=blocks * per_block,
        kv_blocks=blocks,
        kv_bytes_per_token=per_block // BLOCK_SIZE,
        activation_bytes=needs.activations,
        free_bytes=free,
        total_bytes=total,
        max_model_len=context,
        model_context=facts.max_position,
        note=note,
        quantization=config.quantization,
        graph_bytes=needs.graphs,
        other_bytes=needs.other,
        measured=needs.measured,
    )


def _fit_context(model: str, context: int, blocks: int, per_block: int, config: EngineConfig) -> tuple[int, str]:
    """One sequence of full length must fit the cache, or nothing could ever finish."""
    if blocks >= _blocks(context):
        return context, ""
    need = per_block * _blocks(context)
    numbers = f"{context:,} tokens of context need {_size(need)} of KV cache, {_size(blocks * per_block)} are planned"
    if config.max_model_len is not None or blocks < 1:
        raise MemoryPlanError(f"{model}: {numbers}; lower max_model_len or raise kv_cache_memory")
    return blocks * BLOCK_SIZE, f"{numbers}; raise kv_cache_memory for more context"


def _kv_bytes(device: torch.device, room: int, most_useful: int, config: EngineConfig) -> int:
    if config.kv_cache_memory is not None:
        if config.kv_cache_memory > room:
            raise MemoryPlanError(
                f"kv_cache_memory={config.kv_cache_memory:,} bytes, but {_size(room)} are left beside the weights"
                f"{_reserved(config)}"
            )
        return config.kv_cache_memory
    if device.type == "cpu":
        room = min(int(room * CPU_KV_SHARE), CPU_KV_LIMIT)
    return min(room, most_useful)


def _reserved(config: EngineConfig) -> str:
    return f" ({_size(config.reserved_memory)} are left to others)" if config.reserved_memory else ""


def _weight_bytes(facts: ModelConfig, config: EngineConfig, dtype: torch.dtype) -> int:
    if config.quantization is None:
        return facts.num_parameters * dtype.itemsize
    if facts.path != "fast":
        allowed = f"None for {facts.architecture}: int8 weights are for the models of the fast path (Llama and its kin)"
        raise ParameterError("quantization", config.quantization, allowed)
    scales = facts.num_parameters // facts.hidden_size  # a float32 for each row, few of which are shorter
    return facts.num_parameters + 4 * scales


def _activation_bytes(facts: ModelConfig, config: EngineConfig) -> int:
    """An estimate: a dozen hidden-sized float32 rows a token, and logits with two copies for the sampler."""
    tokens = config.step_tokens
    logit_rows = min(config.max_num_seqs, tokens)
    return 4 * (tokens * facts.hidden_size * 16 + 3 * logit_rows * facts.vocab_size)


def _graph_bytes(facts: ModelConfig, config: EngineConfig) -> int:
    """An estimate: what a step of the largest size takes on its way, and its logits, which stay."""
    return 4 * config.graph_rows * (facts.hidden_size * 16 + facts.vocab_size)


def _blocks(num_tokens: int) -> int:
    return -(-num_tokens // BLOCK_SIZE)


def _size(num_bytes: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if abs(num_bytes) < 1024:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1024
    return f"{num_bytes:.2f} GiB"
