"""What the runner asks of a model, whichever path runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import torch

from aphrodite_engine.models.taps import Taps
from aphrodite_engine.params import Pooling
from aphrodite_engine.running.batch import Batch
from aphrodite_kernels.kv_store import BLOCK_SIZE, allocate_kv

Determinism = Literal["strict", "fast"]
Quantization = Literal["int8"]
ModelPath = Literal["fast", "universal", "encoder"]


@dataclass(frozen=True)
class LoadOptions:
    """How a model is brought into memory.

    Attributes:
        determinism: "strict" uses matmuls whose result for a row does not depend on the other rows; "fast" takes the
            fastest there is, which on the CPU's fast path is the same C kernel.
        quantization: how the weights of matrices are held, where not as `dtype` says.
        progress: called with (bytes done, bytes in all) while weights load.
    """

    device: torch.device
    dtype: torch.dtype
    determinism: Determinism = "strict"
    quantization: Quantization | None = None
    trust_remote_code: bool = False
    progress: Callable[[int, int], None] | None = None


@dataclass(frozen=True)
class KVLayerSpec:
    """Shape of one attention layer's cache."""

    num_kv_heads: int
    head_dim: int


@dataclass(frozen=True)
class ModelConfig:
    """Facts of a model folder, read from its config.json and safetensors headers; nothing is allocated.

    Attributes:
        architecture: the first entry of config.json's `architectures`, e.g. "LlamaForCausalLM".
        path: which of our paths runs it.
        max_position: the longest sequence the model was made for, in tokens.
        kv_layers: one spec for each attention layer, in order (empty for encoders).
        num_parameters: counted from the safetensors headers (tied weights once).
        weight_bytes: bytes the weights will take in memory at the dtype asked for.
        eos_token_ids: from generation_config.json and config.json.
        dtype: the dtype config.json names, or float32.
    """

    folder: Path
    architecture: str
    path: ModelPath
    vocab_size: int
    hidden_size: int
    num_layers: int
    max_position: int
    kv_layers: tuple[KVLayerSpec, ...]
    num_parameters: int
    weight_bytes: int
    eos_token_ids: tuple[int, ...]
    dtype: torch.dtype


@dataclass(frozen=True)
class KVTensors:
    """The paged cache's storage: for each attention layer its key and value tensors (layout: kernels, kv_store)."""

    block_size: int
    layers: Sequence[tuple[torch.Tensor, torch.Tensor]]


def kv_tensors(model: ModelConfig, num_blocks: int, dtype: torch.dtype, device: torch.device) -> KVTensors:
    """Zeros for so many blocks of each of the model's attention layers."""
    return KVTensors(
        BLOCK_SIZE,
        [
            allocate_kv(num_blocks, BLOCK_SIZE, spec.num_kv_heads, spec.head_dim, dtype, device)
            for spec in model.kv_layers
        ],
    )


class Decoder(Protocol):
    """A causal language model over a paged KV cache.

    Attributes:
        can_be_tapped: whether its layers can be reached; forward takes no `taps` and there is no `finish` without.
    """

    config: ModelConfig
    can_be_tapped: bool

    def forward(self, batch: Batch, kv: KVTensors, taps: Taps | None = None) -> torch.Tensor:
        """Run one step: store the batch's keys and values, return final (normed) hidden states (T, hidden).

        Args:
            taps: what to add behind layers and what to keep; its `states` are filled.
        """
        ...

    def finish(self, states: torch.Tensor) -> torch.Tensor:
        """What follows the last layer, the final norm above all: residual stream (R, hidden) -> (R, hidden)."""
        ...

    def logits(self, hidden: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
        """Logits (R, vocab_size) in float32 of hidden states (R, hidden), written to `out` where it is given."""
        ...

    def tensors(self) -> Iterable[torch.Tensor]:
        """All that it holds on its device."""
        ...


class Encoder(Protocol):
    """A bidirectional model that turns token sequences into vectors."""

    config: ModelConfig

    def encode(self, sequences: Sequence[Sequence[int]], pooling: Pooling) -> torch.Tensor:
        """Pooled vectors (len(sequences), hidden) in float32, not normalised."""
        ...

    def states(self, sequence: Sequence[int], layers: Sequence[int]) -> dict[int, torch.Tensor]:
        """States (tokens, hidden) float32 of one sequence after each of `layers`."""
        ...

    def tensors(self) -> Iterable[torch.Tensor]:
        """All that it holds on its device."""
        ...
