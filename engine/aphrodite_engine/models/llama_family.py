"""What a Llama-family config.json says, and whether the fast path implements all of it.

A setting the fast path does not implement is never ignored: `obstacle` names it and the model takes the universal path.
Defaults for absent keys are those of transformers' configuration classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aphrodite_engine.errors import ModelError
from aphrodite_engine.models.folder import ModelFolder
from aphrodite_engine.models.rope import ROPE_TYPES, rope_parameters

FAST_ARCHITECTURES = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM")
_REQUIRED = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "max_position_embeddings",
)  # fmt: skip


@dataclass(frozen=True)
class LlamaFamily:
    """Shapes and flags of one model of the family. `windows` has each layer's sliding window, 0 for none."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    max_position: int
    rms_norm_eps: float
    tied: bool
    qkv_bias: bool
    output_bias: bool
    mlp_bias: bool
    qk_norm: bool
    windows: tuple[int, ...]
    rope: Mapping[str, Any]

    @property
    def num_layers(self) -> int:
        return len(self.windows)


def llama_family(folder: ModelFolder) -> LlamaFamily:
    """Read the settings that the fast path needs.

    Raises:
        ModelError: a setting is missing or is not a positive integer, or head counts do not divide.
    """
    config, family = folder.config, folder.architecture.removesuffix("ForCausalLM")
    for key in _REQUIRED:
        if type(config.get(key)) is not int or config[key] < 1:
            raise ModelError(f"{folder.config_file}: {key} must be a positive integer, not {config.get(key)!r}")
    num_heads = config["num_attention_heads"]
    num_kv_heads = config.get("num_key_value_heads", {"Mistral": 8, "Qwen2": 32, "Qwen3": 32}.get(family)) or num_heads
    if num_heads % num_kv_heads:
        raise ModelError(f"{folder.config_file}: {num_heads} heads can't share {num_kv_heads} key-value heads")
    bias = bool(config.get("attention_bias", False)) and family in ("Llama", "Qwen3")
    return LlamaFamily(
        vocab_size=config["vocab_size"],
        hidden_size=config["hidden_size"],
        intermediate_size=config["intermediate_size"],
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        head_dim=_head_dim(config, 128 if family == "Qwen3" else None),
        max_position=config["max_position_embeddings"],
        rms_norm_eps=config.get("rms_norm_eps", 1e-6),
        tied=bool(config.get("tie_word_embeddings", False)),
        qkv_bias=bias or family == "Qwen2",
        output_bias=bias,
        mlp_bias=bool(config.get("mlp_bias", False)) and family == "Llama",
        qk_norm=family == "Qwen3",
        windows=_windows(folder, family),
        rope=rope_parameters(config),
    )


def obstacle(family: LlamaFamily, config: Mapping[str, Any]) -> str | None:
    """The setting that keeps a Llama-family model off the fast path, in words; None if there is none."""
    rope = family.rope
    if config.get("hidden_act", "silu") != "silu":
        return f"hidden_act={config['hidden_act']!r}"
    if any(isinstance(value, dict) for value in rope.values()):
        return "rope parameters that differ by layer"
    if rope["rope_type"] not in ROPE_TYPES:
        return f"rope_type={rope['rope_type']!r}"
    if rope.get("partial_rotary_factor", 1.0) != 1.0:
        return f"partial_rotary_factor={rope['partial_rotary_factor']!r}"
    if family.head_dim % 8 or family.head_dim > 256:
        return f"head_dim={family.head_dim}"
    missing = [key for key in ROPE_TYPES[rope["rope_type"]] if rope.get(key) is None]
    return f"rope_type={rope['rope_type']!r} without {', '.join(missing)}" if missing else None


def _head_dim(config: Mapping[str, Any], default: int | None = None) -> int:
    return config.get("head_dim") or default or config["hidden_size"] // config["num_attention_heads"]


def _windows(folder: ModelFolder, family: str) -> tuple[int, ...]:
    config = folder.config
    layers = config["num_hidden_layers"]
    if family == "Llama":
        return (0,) * layers
    window = config.get("sliding_window", 4096) or 0
    if family == "Mistral":
        return (window,) * layers
    window = window if config.get("use_sliding_window", False) else 0
    first_sliding = config.get("max_window_layers", 28)
    types = config.get("layer_types") or [
        "sliding_attention" if i >= first_sliding else "full_attention" for i in range(layers)
    ]
    if len(types) != layers or not set(types) <= {"sliding_attention", "full_attention"}:
        raise ModelError(f"{folder.config_file}: layer_types must name {layers} layers sliding_ or full_attention")
    return tuple(window if kind == "sliding_attention" else 0 for kind in types)
