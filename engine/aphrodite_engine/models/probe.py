"""Proof, at load, that a universal model computes what its author's code computes, and the same in any batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from aphrodite_kernels.kv_store import allocate_kv

from aphrodite_engine.batch import Batch, BatchEntry, build_batch
from aphrodite_engine.errors import UnsupportedModelError
from aphrodite_engine.models.base import KVTensors, LoadOptions, ModelConfig

NUM_TOKENS = 40
_BLOCK_SIZE = 16
_BLOCKS_EACH = 3
#: Median over tokens of |ours - eager| / |eager|. float32 models agree to 1e-6; in half precision roundings add up over
#: the layers to one or two percent, while a wrong mask or scale moves every token by tens.
_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.1}

Forward = Callable[[Batch, KVTensors], torch.Tensor]


def probe_tokens(config: ModelConfig) -> list[int]:
    """Ids to probe with: fixed, spread over the vocabulary, as many as the model's context holds up to 40."""
    generator = torch.Generator().manual_seed(0)
    count = min(NUM_TOKENS, config.max_position)
    return torch.randint(0, config.vocab_size, (count,), generator=generator).tolist()


def check_faithful(forward: Forward, eager: torch.Tensor, config: ModelConfig, options: LoadOptions) -> None:
    """Compare our forward with `eager` (the probe tokens' hidden states), and with itself chunked and in a batch.

    Raises:
        UnsupportedModelError: they differ, so the model has something that our path does not carry.
    """
    tokens = probe_tokens(config)
    kv = _allocate(config, options)
    alone = _run(forward, kv, options.device, [_entry(tokens, 0, len(tokens), first_block=0)])[0]
    error = (alone.float() - eager.float()).norm(dim=-1) / eager.float().norm(dim=-1).clamp_min(1e-6)
    if not float(error.median()) <= _TOLERANCE[options.dtype]:
        raise _refusal(config, f"its own forward differs by {float(error.median()):.1%}")
    again = _in_another_batch(forward, kv, options.device, tokens)
    if options.determinism == "strict" and not torch.equal(alone, again):
        raise _refusal(config, "a token's bits depend on its batch; determinism='fast' allows that")
    drift = (alone.float() - again.float()).norm(dim=-1) / alone.float().norm(dim=-1).clamp_min(1e-6)
    if not float(drift.median()) <= _TOLERANCE[options.dtype]:
        raise _refusal(config, "it keeps state between tokens that is not in its attention")


def _in_another_batch(forward: Forward, kv: KVTensors, device: torch.device, tokens: Sequence[int]) -> torch.Tensor:
    """The same tokens in chunks of 1, then the rest but one, then 1, each beside another sequence."""
    stops, parts = (1, len(tokens) - 1, len(tokens)), []
    other = list(reversed(tokens))
    start = 0
    for number, stop in enumerate(stops):
        beside = _entry(other, number, number + 1, first_block=2 * _BLOCKS_EACH)
        mine = _entry(tokens, start, stop, first_block=_BLOCKS_EACH)
        parts.append(_run(forward, kv, device, [beside, mine])[1])
        start = stop
    return torch.cat(parts)


def _entry(tokens: Sequence[int], start: int, stop: int, first_block: int) -> BatchEntry:
    table = list(range(first_block, first_block + _BLOCKS_EACH))
    return BatchEntry(tokens[start:stop], start, table, 0, range(stop - start))


def _run(forward: Forward, kv: KVTensors, device: torch.device, entries: list[BatchEntry]) -> list[torch.Tensor]:
    hidden = forward(build_batch(entries, _BLOCK_SIZE, device), kv)
    return list(hidden.split([len(entry.token_ids) for entry in entries]))


def _allocate(config: ModelConfig, options: LoadOptions) -> KVTensors:
    blocks = 3 * _BLOCKS_EACH
    layers = [
        allocate_kv(blocks, _BLOCK_SIZE, spec.num_kv_heads, spec.head_dim, options.dtype, options.device)
        for spec in config.kv_layers
    ]
    return KVTensors(_BLOCK_SIZE, layers)


def _refusal(config: ModelConfig, reason: str) -> UnsupportedModelError:
    return UnsupportedModelError(f"{config.architecture} can't run here: {reason}")
