"""Rotary position embedding: from config.json to the table of cosines and sines that the kernel reads.

Formulas: RoFormer (https://arxiv.org/abs/2104.09864), linear scaling (https://arxiv.org/abs/2306.15595), YaRN
(https://arxiv.org/abs/2309.00071), Llama 3.1's as released. Computed in float32 in the order transformers uses, so that
the tables agree to the last bit or two.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

#: The settings that each supported rope type needs besides rope_theta. "dynamic" changes nothing up to
#: max_position_embeddings, which is as far as a sequence may go here.
ROPE_TYPES: Mapping[str, tuple[str, ...]] = {
    "default": (),
    "linear": ("factor",),
    "dynamic": (),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
    "yarn": ("factor",),
}


def rope_parameters(config: Mapping[str, Any]) -> dict[str, Any]:
    """The rope settings of a config.json, in transformers 5's form, whether written as `rope_parameters` (5.x) or as
    `rope_scaling` and `rope_theta` (4.x)."""
    rope = dict(config.get("rope_scaling") or config.get("rope_parameters") or {})
    rope.setdefault("rope_type", rope.get("type", "default"))
    rope.setdefault("rope_theta", config.get("rope_theta", 10000.0))
    if config.get("partial_rotary_factor") is not None:
        rope.setdefault("partial_rotary_factor", config["partial_rotary_factor"])
    original = config.get("original_max_position_embeddings")
    if original is None:
        original = rope.get("original_max_position_embeddings") or config.get("max_position_embeddings")
    return rope | {"original_max_position_embeddings": original}


def cos_sin_table(rope: Mapping[str, Any], head_dim: int, max_position: int) -> torch.Tensor:
    """(max_position, head_dim) float32: cosines of each position's angles, then sines."""
    inverse, scale = _inverse_frequencies(rope, head_dim, max_position)
    angles = torch.arange(max_position, dtype=torch.float32)[:, None] * inverse
    return torch.cat((angles.cos() * scale, angles.sin() * scale), dim=-1)


def _inverse_frequencies(rope: Mapping[str, Any], head_dim: int, max_position: int) -> tuple[torch.Tensor, float]:
    powers = rope["rope_theta"] ** (torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
    match rope["rope_type"]:
        case "linear":
            return 1.0 / powers / rope["factor"], 1.0
        case "llama3":
            return _llama3(rope, 1.0 / powers), 1.0
        case "yarn":
            return _yarn(rope, powers, head_dim, max_position)
        case _:
            return 1.0 / powers, 1.0


def _llama3(rope: Mapping[str, Any], inverse: torch.Tensor) -> torch.Tensor:
    """Slow frequencies are divided by the factor, fast ones kept, those between blended."""
    factor, low, high = rope["factor"], rope["low_freq_factor"], rope["high_freq_factor"]
    original = rope["original_max_position_embeddings"]
    wavelength = 2 * math.pi / inverse
    slow, fast = wavelength > original / low, wavelength < original / high
    blend = (original / wavelength - low) / (high - low)
    between = (1 - blend) * inverse / factor + blend * inverse
    return torch.where(slow, inverse / factor, torch.where(fast, inverse, between))


def _yarn(
    rope: Mapping[str, Any], powers: torch.Tensor, head_dim: int, max_position: int
) -> tuple[torch.Tensor, float]:
    """Dimensions that turn often keep their frequency, the others are interpolated, with a ramp between."""
    original = rope["original_max_position_embeddings"]
    factor = rope["factor"] if rope["factor"] is not None else max_position / original

    def dimension(rotations: float) -> float:
        turns = math.log(original / (rotations * 2 * math.pi))
        return head_dim * turns / (2 * math.log(rope["rope_theta"]))

    first, last = dimension(rope.get("beta_fast") or 32), dimension(rope.get("beta_slow") or 1)
    if rope.get("truncate", True):
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, head_dim - 1)
    width = (last - first) or 0.001
    kept = 1 - ((torch.arange(head_dim // 2, dtype=torch.float32) - first) / width).clamp(0, 1)
    return 1.0 / (factor * powers) * (1 - kept) + 1.0 / powers * kept, _yarn_scale(rope, factor)


def _yarn_scale(rope: Mapping[str, Any], factor: float) -> float:
    def magnitude(weight: float) -> float:
        return 0.1 * weight * math.log(factor) + 1.0 if factor > 1 else 1.0

    if rope.get("attention_factor") is not None:
        return rope["attention_factor"]
    if rope.get("mscale") and rope.get("mscale_all_dim"):
        return magnitude(rope["mscale"]) / magnitude(rope["mscale_all_dim"])
    return magnitude(1.0)
