"""One step's work, flattened into tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch

from aphrodite_engine.running.upload import uploaded
from aphrodite_engine.scheduler import Chunk


@dataclass(frozen=True)
class Batch:
    """One step's work for the model: T tokens of B sequences, flattened into one row without padding.

    Attributes:
        token_ids: (T,) int64.
        positions: (T,) int64, each token's position in its own sequence.
        slots: (T,) int64, where each token's key and value go: block * block_size + offset; -1 is "do not store"
            (the last token of a fully cached prompt is computed again but is already stored).
        query_start: (B + 1,) int32, sequence b owns rows query_start[b] to query_start[b + 1].
        context_len: (B,) int32, tokens of the sequence that come before its first row here.
        block_tables: (B, max_blocks) int32, the KV blocks of each sequence in order; unused entries are 0.
        logit_rows: (R,) int64, the rows whose logits are wanted.
    """

    token_ids: torch.Tensor
    positions: torch.Tensor
    slots: torch.Tensor
    query_start: torch.Tensor
    context_len: torch.Tensor
    block_tables: torch.Tensor
    logit_rows: torch.Tensor


@dataclass(frozen=True)
class BatchEntry:
    """What one sequence contributes to a step: tokens `start` to `start + len(token_ids)` of it."""

    token_ids: Sequence[int]
    start: int
    block_table: Sequence[int]
    first_stored: int
    logit_offsets: Sequence[int]


def build_batch(entries: Sequence[BatchEntry], block_size: int, device: torch.device) -> Batch:
    """Flatten the entries of one step. Tokens at positions below `first_stored` keep the KV they already have."""
    token_ids: list[int] = []
    positions: list[int] = []
    slots: list[int] = []
    logit_rows: list[int] = []
    query_start = [0]
    for entry in entries:
        base, stop = len(token_ids), entry.start + len(entry.token_ids)
        token_ids.extend(entry.token_ids)
        positions.extend(range(entry.start, stop))
        table = entry.block_table
        slots.extend(
            table[p // block_size] * block_size + p % block_size if p >= entry.first_stored else -1
            for p in range(entry.start, stop)
        )
        logit_rows.extend(base + offset for offset in entry.logit_offsets)
        query_start.append(len(token_ids))
    width = max(len(entry.block_table) for entry in entries)
    tables = [[*entry.block_table, *([0] * (width - len(entry.block_table)))] for entry in entries]
    return Batch(
        token_ids=uploaded(token_ids, torch.int64, device),
        positions=uploaded(positions, torch.int64, device),
        slots=uploaded(slots, torch.int64, device),
        query_start=uploaded(query_start, torch.int32, device),
        context_len=uploaded([entry.start for entry in entries], torch.int32, device),
        block_tables=uploaded(tables, torch.int32, device),
        logit_rows=uploaded(logit_rows, torch.int64, device),
    )


def take_over(drawn: torch.Tensor, token_ids: torch.Tensor, chunks: Sequence[Chunk]) -> None:
    """Write the tokens that nobody has read to their places among those of a step (T,).

    Args:
        drawn: (R,) int64, of the step in front. NOTHING is no id; a row that gets id 0 in its place is dropped.
    """
    ends = accumulate(chunk.length for chunk in chunks)
    pairs = [(end - 1, chunk.unread) for end, chunk in zip(ends, chunks, strict=True) if chunk.unread is not None]
    if pairs:
        places, rows = uploaded(pairs, torch.int64, token_ids.device).T.contiguous()
        token_ids.index_copy_(0, places, drawn.index_select(0, rows).clamp_(min=0))
