"""Paged causal attention for any mix of prompts, parts of prompts, and single decoded tokens.

T query rows of B sequences, Hq query heads in groups that share Hkv key-value heads, head size D. Keys are visited in
tiles of 64 positions aligned at position 0, with online softmax: the structure for a query depends on its position
only, so prefill, any chunk of it, and decode give the same bits (native, and the reference on the CPU).
"""

from __future__ import annotations

import math

import torch

from aphrodite_kernels import native
from aphrodite_kernels.case import Case
from aphrodite_kernels.checks import check_heads, check_index, check_like, describe
from aphrodite_kernels.dispatch import Backend, backend_of
from aphrodite_kernels.kv_store import BLOCK_SIZE, MAX_HEAD_DIM, allocate_kv, check_cache, kv_store

TILE = 64
REFERENCE_ROWS = 64  # rows of the reference at a time: bounds its memory, does not change its results


def attention(
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    block_tables: torch.Tensor,
    query_start: torch.Tensor,
    context_len: torch.Tensor,
    scale: float,
    window: int | None = None,
    softcap: float | None = None,
    out: torch.Tensor | None = None,
) -> torch.Tensor:
    """softmax(mask(scale * q k^T)) v over the cache, which already holds this step's own keys and values.

    Sequence b owns rows query_start[b] .. query_start[b + 1], at positions context_len[b] + 0, 1, ..; a query at
    position p sees positions j <= p, and with a window only p - window < j.

    Args:
        q: (T, Hq, D) in a float dtype; rows may be strided. Its dtype may differ from the cache's.
        k_cache, v_cache: from `allocate_kv`.
        block_tables: (B, max_blocks) int32; entries up to each sequence's last position are used, not checked.
        query_start: (B + 1,) int32, from 0 to T, ascending.
        context_len: (B,) int32.
        scale: factor of the scores, usually D ** -0.5.
        window: sliding window in positions, at least 1.
        softcap: scores become softcap * tanh(score / softcap).
        out: (T, Hq * D) in q's dtype to write into.

    Returns:
        (T, Hq * D) in q's dtype.

    Raises:
        ValueError: a shape, dtype, device or range does not fit.
    """
    _check(q, k_cache, v_cache, block_tables, query_start, context_len)
    if window is not None and window < 1:
        raise ValueError(f"window must be at least 1, got {window}")
    if softcap is not None and not softcap > 0:
        raise ValueError(f"softcap must be above 0, got {softcap}")
    tokens, heads, dim = q.shape
    if out is None:
        out = torch.empty((tokens, heads * dim), dtype=q.dtype, device=q.device)
    else:
        check_like("out", out, (tokens, heads * dim), q)
    arguments = (q, k_cache, v_cache, block_tables, query_start, context_len, scale, window, softcap)
    chosen = backend_of(q)
    if chosen is Backend.REFERENCE:
        return out.copy_(attention_reference(*arguments))
    if chosen is Backend.NATIVE:
        _attention_native(*arguments, out)
        return out
    from aphrodite_kernels.gpu import attention as on_gpu

    on_gpu.attention(*arguments, out)
    return out


def attention_reference(
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    block_tables: torch.Tensor,
    query_start: torch.Tensor,
    context_len: torch.Tensor,
    scale: float,
    window: int | None,
    softcap: float | None,
) -> torch.Tensor:
    """The same tiles in torch: reductions run along the last dimension of fixed length, each row for itself."""
    tokens, heads, dim = q.shape
    lengths = (query_start[1:] - query_start[:-1]).long()
    owner = torch.repeat_interleave(torch.arange(len(lengths), device=q.device), lengths)
    position = torch.arange(tokens, device=q.device) - query_start[owner] + context_len[owner]
    groups = q.float().reshape(tokens, k_cache.shape[1], -1, dim) * scale
    parts = [
        _attend(groups[rows], k_cache, v_cache, block_tables[owner[rows]].long(), position[rows], window, softcap)
        for rows in (slice(start, start + REFERENCE_ROWS) for start in range(0, tokens, REFERENCE_ROWS))
    ]
    return torch.cat(parts).reshape(tokens, heads * dim).to(q.dtype) if parts else q.reshape(0, heads * dim)


def _attend(
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    tables: torch.Tensor,
    position: torch.Tensor,
    window: int | None,
    softcap: float | None,
) -> torch.Tensor:
    """Rows q (t, Hkv, G, D) with a block table (t, max_blocks) each."""
    top = torch.full((*q.shape[:3], 1), -torch.inf, device=q.device)
    total, out = torch.zeros_like(top), torch.zeros_like(q)
    for start in range(0, int(position.max()) + 1, TILE):
        place = torch.arange(start, start + TILE, device=q.device)
        seen = place <= position[:, None]
        if window is not None:
            seen = seen & (place > position[:, None] - window)
        column = (place[::BLOCK_SIZE] // BLOCK_SIZE).clamp(max=tables.shape[1] - 1)
        blocks = torch.where(_inside(seen), tables[:, column], 0)
        visible = seen[:, None, None]
        keys = k_cache[blocks].float().permute(0, 2, 1, 4, 3).flatten(2, 3)  # (t, Hkv, 64, D)
        values = v_cache[blocks].float().permute(0, 2, 4, 1, 3).flatten(3, 4)  # (t, Hkv, D, 64)
        values = torch.where(visible, values, 0.0).contiguous()
        scores = _dot(q.unsqueeze(3), keys.contiguous().unsqueeze(2))
        scores = scores if softcap is None else softcap * torch.tanh(scores / softcap)
        scores = torch.where(visible, scores, -torch.inf)
        new_top = torch.maximum(top, scores.amax(-1, keepdim=True))
        safe = torch.where(new_top == -torch.inf, 0.0, new_top)
        weights, keep = torch.exp(scores - safe), torch.exp(top - safe)
        total = total * keep + weights.sum(-1, keepdim=True)
        out = out * keep + _dot(weights.unsqueeze(3), values.unsqueeze(2))
        top = new_top
    return out / total


def _inside(seen: torch.Tensor) -> torch.Tensor:
    """Whether any position of each block is visible: (t, 64) -> (t, 4)."""
    return seen.unflatten(1, (-1, BLOCK_SIZE)).any(-1)


def _dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Sum over the last dimension of a (.., 1, n) times b (.., m, n): (.., m)."""
    if a.is_cuda:
        return (a @ b.mT).squeeze(-2)
    return (a * b).contiguous().sum(-1)


def _check(
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    block_tables: torch.Tensor,
    query_start: torch.Tensor,
    context_len: torch.Tensor,
) -> None:
    check_heads("q", q)
    check_cache(k_cache, v_cache)
    _, heads, dim = q.shape
    _, kv_heads, cache_dim, _ = k_cache.shape
    if dim != cache_dim or heads % kv_heads or dim % 8 or dim > MAX_HEAD_DIM or q.device != k_cache.device:
        raise ValueError(
            f"q must be (T, a multiple of {kv_heads}, {cache_dim}) beside its cache, D a multiple of 8 "
            f"up to {MAX_HEAD_DIM}, got q {describe(q)}, keys {describe(k_cache)}"
        )
    if block_tables.dim() != 2:
        raise ValueError(f"block_tables must be (B, max_blocks) int32, got {describe(block_tables)}")
    batch, width = block_tables.shape
    check_index("block_tables", block_tables, (batch, width), torch.int32, q)
    check_index("query_start", query_start, (batch + 1,), torch.int32, q)
    check_index("context_len", context_len, (batch,), torch.int32, q)


def _attention_native(
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    block_tables: torch.Tensor,
    query_start: torch.Tensor,
    context_len: torch.Tensor,
    scale: float,
    window: int | None,
    softcap: float | None,
    out: torch.Tensor,
) -> None:
    _, heads, dim = q.shape
    batch, width = block_tables.shape
    native.compiled().attention(
        q.data_ptr(), q.stride(0), native.DTYPE_CODES[q.dtype], k_cache.data_ptr(), v_cache.data_ptr(),
        native.DTYPE_CODES[k_cache.dtype], block_tables.data_ptr(), width, query_start.data_ptr(),
        context_len.data_ptr(), out.data_ptr(), batch, heads, k_cache.shape[1], dim, scale, window or 0,
        softcap or 0.0, torch.get_num_threads(),
    )  # fmt: skip


def _case(
    lengths: tuple[tuple[int, int], ...],
    heads: tuple[int, int],
    dim: int,
    window: int | None = None,
    softcap: float | None = None,
) -> Case:
    """lengths: (context, new tokens) of each sequence."""
    q_heads, kv_heads = heads
    blocks = [-(-(context + new) // BLOCK_SIZE) for context, new in lengths]
    tokens = sum(new for _, new in lengths)

    def make(device: torch.device, dtype: torch.dtype, generator: torch.Generator) -> dict[str, object]:
        caches = allocate_kv(sum(blocks) + 1, BLOCK_SIZE, kv_heads, dim, dtype, device)
        for cache in caches:
            cache.fill_(math.nan)  # unused slots must not be read
        tables = torch.zeros(len(lengths), max(blocks), dtype=torch.int32)
        order = torch.randperm(sum(blocks), generator=generator).int() + 1
        for b, (part, (context, new)) in enumerate(zip(order.split(blocks), lengths, strict=True)):
            tables[b, : blocks[b]] = part
            at = torch.arange(context + new)
            kv = torch.randn(2, context + new, kv_heads, dim, generator=generator).to(device, dtype)
            slots = part[at // BLOCK_SIZE].long() * BLOCK_SIZE + at % BLOCK_SIZE
            kv_store(kv[0], kv[1], *caches, slots.to(device))
        starts = torch.tensor([0, *(new for _, new in lengths)]).cumsum(0).int()
        return {
            "q": (2 * torch.randn(tokens, q_heads, dim, generator=generator)).to(device, dtype),
            "k_cache": caches[0],
            "v_cache": caches[1],
            "block_tables": tables.to(device),
            "query_start": starts.to(device),
            "context_len": torch.tensor([context for context, _ in lengths], dtype=torch.int32, device=device),
            "scale": dim**-0.5,
            "window": window,
            "softcap": softcap,
        }

    seen = sum(min(context + i + 1, window or context + i + 1) for context, new in lengths for i in range(new))
    same = len(lengths) > 1 and len(set(lengths)) == 1
    shown = lengths[:1] if same else lengths
    words = (f"{len(lengths)}x" if same else "") + "_".join(f"{context}+{new}" for context, new in shown)
    name = f"{words}_H{q_heads}x{kv_heads}_D{dim}{f'_W{window}' if window else ''}{f'_C{softcap}' if softcap else ''}"
    moved = 8 * sum(context + new for context, new in lengths) * kv_heads * dim + 8 * tokens * q_heads * dim
    # Chains of D and of 64 float32 additions, and exp within 2 ulp of scores of size 10. Then each tile of the context
    # rescales what was there and adds its own, three roundings of 2^-24 that add up like a random walk.
    tiles = -(-max(min(context + new, window or context + new) for context, new in lengths) // TILE)
    tolerance = 2e-6 + 3 * 2**-24 * math.sqrt(tiles)
    return Case(name, make, attention, _truth, moved, 4 * seen * q_heads * dim, tolerance)


def _truth(
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    block_tables: torch.Tensor,
    query_start: torch.Tensor,
    context_len: torch.Tensor,
    scale: float,
    window: int | None,
    softcap: float | None,
) -> torch.Tensor:
    """Plain softmax attention in float64, one query row at a time."""
    group, rows = q.shape[1] // k_cache.shape[1], []
    keys, values = k_cache.double().cpu(), v_cache.double().cpu()
    for b, table in enumerate(block_tables.tolist()):
        for row in range(int(query_start[b]), int(query_start[b + 1])):
            p = int(context_len[b]) + row - int(query_start[b])
            at = torch.arange(max(0, p - window + 1) if window else 0, p + 1)
            block = torch.tensor(table)[at // BLOCK_SIZE]
            k = keys[block, :, :, at % BLOCK_SIZE].repeat_interleave(group, 1)
            v = values[block, :, at % BLOCK_SIZE].repeat_interleave(group, 1)
            scores = torch.einsum("hd,jhd->hj", q[row].double().cpu(), k) * scale
            scores = softcap * torch.tanh(scores / softcap) if softcap else scores
            rows.append(torch.einsum("hj,jhd->hd", scores.softmax(-1), v).flatten())
    return torch.stack(rows)


CASES = (
    _case(((0, 1),), (1, 1), 8),
    _case(((0, 5), (63, 1), (64, 1), (200, 1)), (4, 2), 16),
    _case(((0, 130), (37, 40)), (6, 2), 24),
    _case(((100, 1), (0, 70)), (2, 2), 128),
    _case(((17, 61),), (8, 1), 80),
    _case(((150, 30), (9, 1)), (4, 1), 64, window=40),
    _case(((0, 90),), (2, 1), 256, window=64, softcap=20.0),
    _case(((130, 3),), (5, 1), 40, softcap=5.0),
    _case(((700, 1), (3, 2)), (2, 1), 16),
)
LARGE = (
    _case(((1000, 1),), (16, 8), 128),
    _case(((8000, 1),), (32, 8), 128),
    _case(((1000, 1),) * 64, (16, 8), 128),
    _case(((0, 2048),), (16, 8), 128),
    _case(((6000, 512),), (16, 8), 128),
)
