"""The rows of decoding sequences, resident on the device: a step that goes on with the same rows uploads no more than
new blocks. A row is one token of one sequence."""

from __future__ import annotations

from collections.abc import Sequence as Chunks

import torch

from aphrodite_engine.running.batch import Batch, take_over
from aphrodite_engine.running.upload import upload_into, uploaded
from aphrodite_engine.scheduler import Chunk

_NO_TABLE: list[int] = []


class DecodeState:
    """Tensors of fixed addresses, and what the host knows of their content.

    Attributes:
        token_ids: (rows,) int64.
        positions: (rows,) int64, -1 where a row is nobody's.
        block_tables: (rows, blocks of the longest sequence) int32. What lies behind a table's end is never read.
    """

    def __init__(self, num_rows: int, max_model_len: int, block_size: int, device: torch.device) -> None:
        self._block_size, self._device = block_size, device
        self.token_ids = torch.zeros(num_rows, dtype=torch.int64, device=device)
        self.positions = torch.full((num_rows,), -1, dtype=torch.int64, device=device)
        self.block_tables = torch.zeros((num_rows, -(-max_model_len // block_size)), dtype=torch.int32, device=device)
        self._query_start = torch.arange(num_rows + 1, dtype=torch.int32, device=device)
        self._rows = torch.arange(num_rows, dtype=torch.int64, device=device)
        self._starts: list[int] = []
        self._tables: list[tuple[list[int], int]] = [(_NO_TABLE, 0)] * num_rows

    @property
    def num_rows(self) -> int:
        return len(self.token_ids)

    def place(self, chunks: Chunks[Chunk], front: torch.Tensor | None) -> None:
        """Make the first rows those of these chunks of one token each, and the others nobody's.

        Args:
            front: (R,) int64, the tokens that the step in front drew; chunks with an `unread` token take it from there.
        """
        self._place_tokens(chunks, front)
        self._place_positions([chunk.start for chunk in chunks])
        self._place_blocks(chunks)

    def batch(self, num_rows: int) -> Batch:
        """The first rows as a step. It follows from the resident tensors alone, without a look at them, so it may be
        part of a graph. A row that is nobody's stores nothing and sees the first place of block 0."""
        positions, tables = self.positions[:num_rows], self.block_tables[:num_rows]
        places = positions.clamp(min=0)
        blocks = tables.gather(1, (places // self._block_size)[:, None])[:, 0].long()
        slots = (blocks * self._block_size + places % self._block_size).masked_fill_(positions < 0, -1)
        return Batch(
            token_ids=self.token_ids[:num_rows],
            positions=places,
            slots=slots,
            query_start=self._query_start[: num_rows + 1],
            context_len=places.int(),
            block_tables=tables,
            logit_rows=self._rows[:num_rows],
        )

    def _place_tokens(self, chunks: Chunks[Chunk], front: torch.Tensor | None) -> None:
        target, unread = self.token_ids[: len(chunks)], [chunk.unread for chunk in chunks]
        if front is not None and unread == [*range(len(chunks))]:
            torch.clamp(front[: len(chunks)], min=0, out=target)
            return
        upload_into(target, [0 if c.unread is not None else c.sequence.token_ids[c.start] for c in chunks])
        if front is not None:
            take_over(front, target, chunks)

    def _place_positions(self, starts: list[int]) -> None:
        if starts == [start + 1 for start in self._starts]:
            self.positions[: len(starts)].add_(1)
        else:
            left = len(self._starts) - len(starts)
            upload_into(self.positions[: len(starts) + max(0, left)], [*starts, *([-1] * left)])
        self._starts = starts

    def _place_blocks(self, chunks: Chunks[Chunk]) -> None:
        """Only what is new: a list of blocks grows at its end, or another list takes its place (Sequence)."""
        places: list[int] = []
        blocks: list[int] = []
        for row, chunk in enumerate(chunks):
            table, (known, count) = chunk.sequence.block_table, self._tables[row]
            first = count if known is table else 0
            if first < len(table):
                start = row * self.block_tables.shape[1]
                places.extend(range(start + first, start + len(table)))
                blocks.extend(table[first:])
            self._tables[row] = (table, len(table))
        if blocks:
            there = uploaded(places, torch.int64, self._device)
            self.block_tables.view(-1).index_copy_(0, there, uploaded(blocks, torch.int32, self._device))
