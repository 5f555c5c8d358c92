"""Checkpoints of the measured shapes: random weights, written once into scratch/ (git does not see them)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

WORK = Path(__file__).parent / "scratch"


@dataclass(frozen=True)
class Shape:
    """A Qwen3-style decoder with tied embeddings and qk-norm.

    Attributes:
        kv_cache_memory: what our engine gets for the KV cache: the sweep's 160 sequences fit without preemption.
    """

    name: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    kv_cache_memory: int

    @property
    def kv_bytes_per_token(self) -> int:
        """Keys and values of one token in float32."""
        return 2 * self.layers * self.kv_heads * self.head_dim * 4

    @property
    def num_parameters(self) -> int:
        """Tied embeddings counted once; every weight is read once for a decoded token."""
        attention = self.hidden * self.head_dim * (2 * self.heads + 2 * self.kv_heads) + 2 * self.head_dim
        layer = attention + 3 * self.hidden * self.intermediate + 2 * self.hidden
        return self.vocab * self.hidden + self.layers * layer + self.hidden


SHAPES = {
    "0.6b": Shape("0.6b", 1024, 28, 16, 8, 128, 3072, 151_936, kv_cache_memory=3 << 30),
    "30m": Shape("30m", 384, 8, 6, 2, 64, 1536, 32_000, kv_cache_memory=512 << 20),
}


def checkpoint(shape: Shape) -> Path:
    """The shape's folder, made if it is not there: seeded weights, stored in bfloat16 as such models are published."""
    folder = WORK / shape.name
    if not (folder / "model.safetensors").exists():
        _random_model(shape).save_pretrained(folder)
    return folder


def config_of(shape: Shape) -> Any:
    """transformers' configuration of a shape."""
    from transformers import Qwen3Config

    return Qwen3Config(
        vocab_size=shape.vocab,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        intermediate_size=shape.intermediate,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
    )


def _random_model(shape: Shape) -> Any:
    from transformers import Qwen3ForCausalLM

    torch.manual_seed(0)
    model: Any = Qwen3ForCausalLM(config_of(shape))
    return model.to(torch.bfloat16)
