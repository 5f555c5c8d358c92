"""Sequences in one paged cache, of which any piece can be asked for in any company."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from aphrodite_kernels.attention import attention
from aphrodite_kernels.kv_store import allocate_kv, kv_store


@dataclass
class Story:
    """Sequences whose queries, keys and values are all known, in one cache."""

    queries: list[torch.Tensor]
    caches: tuple[torch.Tensor, torch.Tensor]
    tables: torch.Tensor
    options: dict

    def ask(self, *pieces: tuple[int, int, int]) -> list[torch.Tensor]:
        """Attention of one call whose sequences are pieces (sequence, first position, one past the last)."""
        starts = torch.tensor([0, *(stop - start for _, start, stop in pieces)]).cumsum(0).int()
        q = torch.cat([self.queries[b][start:stop] for b, start, stop in pieces])
        context = torch.tensor([start for _, start, _ in pieces], dtype=torch.int32)
        tables = self.tables[[b for b, _, _ in pieces]].contiguous()
        out = attention(q, *self.caches, tables, starts, context, q.shape[2] ** -0.5, **self.options)
        return list(out.split([stop - start for _, start, stop in pieces]))


def tell(
    lengths: Sequence[int],
    heads: int,
    kv_heads: int,
    dim: int,
    dtype: torch.dtype,
    generator: torch.Generator,
    **options: float,
) -> Story:
    """Random sequences of these lengths, stored in blocks in random order; every unused slot holds NaN."""
    widest = -(-max(lengths) // 16)
    order = torch.randperm(len(lengths) * widest, generator=generator).int()
    tables = order.view(len(lengths), widest)
    caches = allocate_kv(len(order), 16, kv_heads, dim, dtype, generator.device)
    for cache in caches:
        cache.fill_(torch.nan)
    queries = []
    for length, table in zip(lengths, tables, strict=True):
        at = torch.arange(length)
        k, v = torch.randn(2, length, kv_heads, dim, generator=generator).to(dtype)
        kv_store(k, v, *caches, table[at // 16].long() * 16 + at % 16)
        queries.append((2 * torch.randn(length, heads, dim, generator=generator)).to(dtype))
    return Story(queries, caches, tables, options)
