"""Drives a Decoder with Batch objects, the way the runner does, and keeps each sequence's tokens and blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from aphrodite_engine.models.base import Decoder, Determinism, KVTensors, LoadOptions
from aphrodite_engine.models.registry import load_decoder, read_model_config
from aphrodite_engine.running.batch import BatchEntry, build_batch
from aphrodite_kernels.kv_store import allocate_kv
from tests.engine.inside import DEVICE

BLOCK_SIZE = 16
CPU = torch.device("cpu")


def load(
    folder: Path,
    dtype: torch.dtype = torch.float32,
    determinism: Determinism = "strict",
    device: torch.device = CPU,
) -> Decoder:
    return load_decoder(read_model_config(folder, dtype), LoadOptions(device, dtype, determinism))


@dataclass
class Line:
    """A sequence under way: its tokens, its blocks, how many tokens are computed, and how many came from a prefix."""

    tokens: list[int]
    table: list[int]
    computed: int = 0
    first_stored: int = 0
    logits: list[torch.Tensor] = field(default_factory=list)


class Harness:
    """A decoder on DEVICE with a cache of its own; logits are kept on the CPU."""

    def __init__(self, decoder: Decoder, dtype: torch.dtype = torch.float32, num_blocks: int = 128) -> None:
        self.decoder = decoder
        layers = [
            allocate_kv(num_blocks, BLOCK_SIZE, spec.num_kv_heads, spec.head_dim, dtype, DEVICE)
            for spec in decoder.config.kv_layers
        ]
        self.kv = KVTensors(BLOCK_SIZE, layers)
        # Handed out backwards, so that no sequence's blocks happen to lie in order.
        self._free = list(range(num_blocks))

    def line(self, tokens: Sequence[int], room: int = 0, prefix_of: Line | None = None) -> Line:
        """A new sequence with space for `room` more tokens, sharing the full blocks it has in common with another."""
        blocks = -(-(len(tokens) + room) // BLOCK_SIZE)
        shared: list[int] = []
        if prefix_of is not None:
            same = next((i for i, (a, b) in enumerate(zip(tokens, prefix_of.tokens, strict=False)) if a != b), None)
            common = min(len(tokens), prefix_of.computed) if same is None else min(same, prefix_of.computed)
            shared = prefix_of.table[: common // BLOCK_SIZE]
        cached = len(shared) * BLOCK_SIZE
        table = [*shared, *(self._free.pop() for _ in range(blocks - len(shared)))]
        # A fully cached prompt computes its last token again, without storing it.
        return Line(list(tokens), table, min(cached, len(tokens) - 1), cached)

    @torch.inference_mode()
    def step(self, *work: tuple[Line, int]) -> None:
        """Compute the next `count` tokens of each sequence in one batch; the logits of every row are kept."""
        entries = [
            BatchEntry(
                line.tokens[line.computed : line.computed + count], line.computed, line.table, line.first_stored,
                range(count),
            )
            for line, count in work
        ]  # fmt: skip
        batch = build_batch(entries, BLOCK_SIZE, DEVICE)
        logits = self.decoder.logits(self.decoder.forward(batch, self.kv)[batch.logit_rows]).cpu()
        for (line, count), part in zip(work, logits.split([count for _, count in work]), strict=True):
            line.logits.append(part)
            line.computed += count

    def greedy(self, lines: Sequence[Line], steps: int, chunk: int) -> None:
        """Prefill in chunks beside each other's decodes, until every sequence has `steps` more tokens."""
        goals = {id(line): len(line.tokens) + steps for line in lines}
        while active := [line for line in lines if len(line.tokens) < goals[id(line)]]:
            self.step(*((line, min(chunk, len(line.tokens) - line.computed)) for line in active))
            for line in active:
                if line.computed == len(line.tokens):
                    line.tokens.append(int(line.logits[-1][-1].argmax()))

    def whole(self, tokens: Sequence[int]) -> torch.Tensor:
        """Logits (T, vocab) of a sequence alone in one step."""
        line = self.line(tokens)
        self.step((line, len(tokens)))
        return torch.cat(line.logits)


def prompt(length: int, seed: int, vocab: int = 128) -> list[int]:
    return torch.randint(3, vocab, (length,), generator=torch.Generator().manual_seed(seed)).tolist()
