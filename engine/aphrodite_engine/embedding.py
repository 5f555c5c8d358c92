"""Vectors out of token sequences: how a folder wants them pooled, and in which order they are computed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from aphrodite_engine.loading.weights import read_json
from aphrodite_engine.models.base import Encoder, ModelConfig
from aphrodite_engine.params import Pooling

#: Tokens encoded at once; short texts share a call, and an interrupt waits for one call at most.
TOKENS_PER_CALL = 4096


def default_pooling(facts: ModelConfig) -> Pooling:
    """What sentence-transformers' 1_Pooling/config.json names, else mean for encoders and last for decoders."""
    folder = facts.folder / "1_Pooling"
    if (folder / "config.json").exists():
        settings = read_json(folder, "config.json")
        if settings.get("pooling_mode_cls_token"):
            return "cls"
        if settings.get("pooling_mode_lasttoken"):
            return "last"
        if settings.get("pooling_mode_mean_tokens"):
            return "mean"
    return "mean" if facts.path == "encoder" else "last"


@torch.inference_mode()
def encode_texts(encoder: Encoder, sequences: Sequence[Sequence[int]], pooling: Pooling) -> np.ndarray:
    """Pooled vectors (len(sequences), hidden) float32, in the order given; like lengths are computed together."""
    order = sorted(range(len(sequences)), key=lambda place: len(sequences[place]))
    vectors: list[np.ndarray | None] = [None] * len(sequences)
    start = 0
    while start < len(order):
        stop, tokens = start, 0
        while stop < len(order) and (stop == start or tokens + len(sequences[order[stop]]) <= TOKENS_PER_CALL):
            tokens += len(sequences[order[stop]])
            stop += 1
        group = order[start:stop]
        found = encoder.encode([sequences[place] for place in group], pooling).cpu().numpy()
        for place, vector in zip(group, found, strict=True):
            vectors[place] = vector
        start = stop
    return np.stack([vector for vector in vectors if vector is not None])


def normalized(vectors: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1; a zero row stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
