"""Paged causal attention on a GPU, one kernel for prompts, parts of prompts and decoded tokens.

T query rows of B sequences, Hq query heads in groups of G that share Hkv key-value heads, head size D. A program takes
the G heads of some consecutive tokens of one sequence: BLOCK_M rows, of which each keeps to itself. Positions are cut
into splits of fixed length, a split into tiles; a split is an online softmax of its own, and the splits' results are
merged in order. Many rows of a sequence: one program runs through all splits. Few: several programs share the splits,
then `_merge_splits`. Both round alike, and a tile or split in which a row sees nothing changes no bit of it: so a token
gets the same result in a prompt, in any part of one, and decoded, in any company.
"""

from __future__ import annotations

import torch
import triton.language as tl

from aphrodite_kernels.gpu.functions import tanh_f32
from aphrodite_kernels.gpu.launch import (
    EXACT,
    WIDEN,
    ceil_div,
    fills_device,
    kernel,
    kernel_for_any,
    next_power_of_two,
    num_processors,
    shared_bytes,
)
from aphrodite_kernels.gpu.tuning import Settings, tuned

CANDIDATES: tuple[Settings, ...] = tuple(
    {"BLOCK_M": m, "TILE": tile, "SPLIT": split, "num_warps": warps, "num_stages": stages}
    for m, warps in ((16, 4), (32, 4), (64, 4), (128, 8))
    for tile in (32, 64, 128)
    for split in (256, 512, 1024)
    for stages in (2, 3)
)
#: Most bytes that the partial results of few rows may take; beyond, one program runs through all splits.
WORKSPACE = 128 * 2**20
#: Programs a multiprocessor gets where splits are shared. More even out sequences of unlike lengths; but most have
#: nothing to do where block tables are as wide as the longest sequence could be.
SHARING = 16
#: Sequences of a launch are looked up so many at once: one number, for one compilation.
LOOKED_UP = 512


def attention(
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
    """The op's arguments; nothing is read back from the device."""
    tokens, heads, dim = q.shape
    (batch, width), kv_heads = block_tables.shape, k_cache.shape[1]
    if not tokens:
        return
    wide = WIDEN or q.dtype is not k_cache.dtype or q.dtype is torch.float32
    settings, group = settings_of(dim, heads // kv_heads, wide, q.device), heads // kv_heads
    tile_tokens = settings["BLOCK_M"] // group
    tiles = tokens // tile_tokens + batch  # at least one a sequence, whatever their lengths
    splits = ceil_div(width * k_cache.shape[3], settings["SPLIT"])
    fits = 4 * splits * tokens * heads * (dim + 2) <= WORKSPACE
    in_parts = splits > 1 and fits and _is_uneven(tokens, batch, tiles * kv_heads, q.device)
    sharers = min(splits, ceil_div(SHARING * num_processors(q.device), tiles * kv_heads)) if in_parts else 1
    parts = splits * tokens * heads if in_parts else 1
    sums = torch.empty((parts, dim), dtype=torch.float32, device=q.device)
    state = torch.empty((2, parts), dtype=torch.float32, device=q.device)
    shapes = {"GROUP": group, "TOKENS": tile_tokens, "BATCH": max(LOOKED_UP, next_power_of_two(batch)), "DIM": dim,
              "BLOCK_D": max(16, next_power_of_two(dim)), "WINDOW": window or 0}  # fmt: skip
    where = (block_tables, query_start, context_len, sums, state, out, batch, width, tokens, kv_heads)
    _attention[(tiles, kv_heads, sharers)](
        q, k_cache, v_cache, *where, q.stride(0), scale, softcap or 0.0,
        IN_PARTS=in_parts, WIDE=wide, SOFTCAP=softcap is not None, BLOCK_SIZE=k_cache.shape[3],
        **shapes, **settings, **EXACT,
    )  # fmt: skip
    if in_parts:
        merging = {name: settings[name] for name in ("BLOCK_M", "SPLIT", "num_warps")}
        _merge_splits[(tiles, kv_heads)](*where, **shapes, **merging, **EXACT)


def _is_uneven(tokens: int, batch: int, programs: int, device: torch.device) -> bool:
    """Whether one program a tile leaves multiprocessors idle: few programs, or sequences that decode, of which one may
    be many times as long as the others."""
    return tokens == batch or not fills_device(programs, device)


def settings_of(dim: int, group: int, wide: bool, device: torch.device) -> Settings:
    """Tile, split, warps and stages for a head size and a group of heads; the same for any number of rows."""
    rows, warps = max(64, next_power_of_two(group)), 4 if dim <= 128 else 8
    default = {"BLOCK_M": rows, "TILE": 64, "SPLIT": 512, "num_warps": warps, "num_stages": 3}
    if wide:
        default |= {"BLOCK_M": max(32, next_power_of_two(group)), "TILE": 32, "num_stages": 1}
    # Three stages hold keys and values of two tiles, and the blocks of a third, beside the queries.
    elif 2 * next_power_of_two(dim) * (rows + 2 * 2 * 64) > shared_bytes(device):
        default |= {"TILE": 32, "num_stages": 1}
    return tuned("attention", f"D{dim}_G{group}{'_wide' if wide else ''}", **default)


@kernel_for_any("batch", "width", "tokens")
def _attention(
    q, k_cache, v_cache, block_tables, query_start, context_len, sums, state, out, batch, width, tokens, kv_heads,
    q_stride, scale, softcap,
    IN_PARTS: tl.constexpr, WIDE: tl.constexpr, SOFTCAP: tl.constexpr, BLOCK_SIZE: tl.constexpr,
    GROUP: tl.constexpr, TOKENS: tl.constexpr, BATCH: tl.constexpr, DIM: tl.constexpr, BLOCK_D: tl.constexpr,
    WINDOW: tl.constexpr, BLOCK_M: tl.constexpr, TILE: tl.constexpr, SPLIT: tl.constexpr,
):  # fmt: skip
    sequence, first, length, base = _find(query_start, batch, TOKENS, BATCH)
    if first >= length:
        return
    kv_head = tl.program_id(1)
    token, line, valid = _rows(first, length, base, kv_head, kv_heads, GROUP, TOKENS, BLOCK_M)
    context = tl.load(context_len + sequence)
    position = context + token
    at = tl.arange(0, BLOCK_D)
    inside = valid[:, None] & (at < DIM)[None, :]
    place = (base + token).to(tl.int64) * q_stride + (kv_head * GROUP + tl.arange(0, BLOCK_M) % GROUP) * DIM
    query = tl.load(q + place[:, None] + at[None, :], inside, other=0.0)
    table = block_tables + sequence.to(tl.int64) * width
    low, limit = _span(context, first, length, TOKENS, WINDOW)
    if IN_PARTS:
        for split in range(low // SPLIT + tl.program_id(2), tl.cdiv(limit, SPLIT), tl.num_programs(2)):
            top, total, acc = _attend(
                query, k_cache, v_cache, table, position, split, low, limit, kv_head, kv_heads, scale, softcap,
                WIDE, SOFTCAP, BLOCK_SIZE, DIM, BLOCK_D, WINDOW, BLOCK_M, TILE, SPLIT,
            )  # fmt: skip
            part = split * tokens * kv_heads * GROUP + line  # WORKSPACE keeps it small
            tl.store(state + 2 * part, top, valid)
            tl.store(state + 2 * part + 1, total, valid)
            tl.store(sums + part[:, None] * DIM + at[None, :], acc, inside)
    else:
        top, total, acc = _nothing(BLOCK_M, BLOCK_D)
        for split in range(low // SPLIT, tl.cdiv(limit, SPLIT)):
            part_top, part_total, part_acc = _attend(
                query, k_cache, v_cache, table, position, split, low, limit, kv_head, kv_heads, scale, softcap,
                WIDE, SOFTCAP, BLOCK_SIZE, DIM, BLOCK_D, WINDOW, BLOCK_M, TILE, SPLIT,
            )  # fmt: skip
            top, total, acc = _merge(top, total, acc, part_top, part_total, part_acc)
        done = tl.div_rn(acc, tl.where(valid, total, 1.0)[:, None] + tl.zeros_like(acc))
        tl.store(out + line[:, None] * DIM + at[None, :], done.to(out.dtype.element_ty), inside)


@kernel
def _attend(
    query, k_cache, v_cache, table, position, split, low, limit, kv_head, kv_heads, scale, softcap,
    WIDE: tl.constexpr, SOFTCAP: tl.constexpr, BLOCK_SIZE: tl.constexpr, DIM: tl.constexpr, BLOCK_D: tl.constexpr,
    WINDOW: tl.constexpr, BLOCK_M: tl.constexpr, TILE: tl.constexpr, SPLIT: tl.constexpr,
):  # fmt: skip
    """Online softmax over one split: largest score in base 2 (BLOCK_M,), sum of weights (BLOCK_M,), weighted values.

    Keys are read in whole blocks, so that reads are wide: what a block holds beside the sequence never becomes a score.
    """
    at = tl.arange(0, BLOCK_D)
    low_block, end_block = low // BLOCK_SIZE * BLOCK_SIZE, tl.cdiv(limit, BLOCK_SIZE) * BLOCK_SIZE
    top, total, acc = _nothing(BLOCK_M, BLOCK_D)
    for start in range(tl.maximum(split * SPLIT, low // TILE * TILE), tl.minimum((split + 1) * SPLIT, limit), TILE):
        place = start + tl.arange(0, TILE)
        stored = (place >= low) & (place < limit)
        held = (place >= low_block) & (place < end_block)
        block = (tl.load(table + place // BLOCK_SIZE, held, other=0).to(tl.int64) * kv_heads + kv_head) * DIM
        offset = place % BLOCK_SIZE
        key = tl.load(
            k_cache + (block * BLOCK_SIZE + offset)[None, :] + (at * BLOCK_SIZE)[:, None],
            held[None, :] & (at < DIM)[:, None], other=0.0,
        )  # fmt: skip
        value = tl.load(
            v_cache + (block * BLOCK_SIZE + offset * DIM)[:, None] + at[None, :],
            stored[:, None] & (at < DIM)[None, :], other=0.0,
        )  # fmt: skip
        if WIDE:
            scores = tl.dot(query.to(tl.float32), key.to(tl.float32), input_precision="ieee") * scale
        else:
            scores = tl.dot(query, key) * scale
        if SOFTCAP:
            scores = softcap * tanh_f32(tl.div_rn(scores, tl.zeros_like(scores) + softcap))
        seen = stored[None, :] & (place[None, :] <= position[:, None])
        if WINDOW:
            seen = seen & (place[None, :] > position[:, None] - WINDOW)
        scores = tl.where(seen, scores * 1.4426950408889634, -float("inf"))  # exp(x) = exp2(x / ln 2)
        new_top = tl.maximum(top, tl.max(scores, 1))
        safe = tl.where(new_top == -float("inf"), 0.0, new_top)
        weights, keep = tl.exp2(scores - safe[:, None]), tl.exp2(top - safe)
        total = total * keep + tl.sum(weights, 1)
        acc = acc * keep[:, None]
        if WIDE:
            acc = tl.dot(weights, value.to(tl.float32), acc, input_precision="ieee")
        else:
            acc = tl.dot(weights.to(value.dtype), value, acc)
        top = new_top
    return top, total, acc


@kernel_for_any("batch", "width", "tokens")
def _merge_splits(
    block_tables, query_start, context_len, sums, state, out, batch, width, tokens, kv_heads,
    GROUP: tl.constexpr, TOKENS: tl.constexpr, BATCH: tl.constexpr, DIM: tl.constexpr, BLOCK_D: tl.constexpr,
    WINDOW: tl.constexpr, BLOCK_M: tl.constexpr, SPLIT: tl.constexpr,
):  # fmt: skip
    sequence, first, length, base = _find(query_start, batch, TOKENS, BATCH)
    if first >= length:
        return
    _, line, valid = _rows(first, length, base, tl.program_id(1), kv_heads, GROUP, TOKENS, BLOCK_M)
    at = tl.arange(0, BLOCK_D)
    inside = valid[:, None] & (at < DIM)[None, :]
    low, limit = _span(tl.load(context_len + sequence), first, length, TOKENS, WINDOW)
    top, total, acc = _nothing(BLOCK_M, BLOCK_D)
    for split in range(low // SPLIT, tl.cdiv(limit, SPLIT)):
        part = split * tokens * kv_heads * GROUP + line  # WORKSPACE keeps it small
        part_top = tl.load(state + 2 * part, valid, other=-float("inf"))
        part_total = tl.load(state + 2 * part + 1, valid, other=0.0)
        part_acc = tl.load(sums + part[:, None] * DIM + at[None, :], inside, other=0.0)
        top, total, acc = _merge(top, total, acc, part_top, part_total, part_acc)
    done = tl.div_rn(acc, tl.where(valid, total, 1.0)[:, None] + tl.zeros_like(acc))
    tl.store(out + line[:, None] * DIM + at[None, :], done.to(out.dtype.element_ty), inside)


@kernel
def _nothing(BLOCK_M: tl.constexpr, BLOCK_D: tl.constexpr):
    """The state of rows that have seen nothing."""
    top = tl.full((BLOCK_M,), -float("inf"), tl.float32)
    return top, tl.zeros((BLOCK_M,), tl.float32), tl.zeros((BLOCK_M, BLOCK_D), tl.float32)


@kernel
def _merge(top, total, acc, part_top, part_total, part_acc):
    """Two states of the same rows as one; with a state of nothing the other comes out bit by bit."""
    new_top = tl.maximum(top, part_top)
    safe = tl.where(new_top == -float("inf"), 0.0, new_top)
    keep, add = tl.exp2(top - safe), tl.exp2(part_top - safe)
    return new_top, total * keep + part_total * add, acc * keep[:, None] + part_acc * add[:, None]


@kernel
def _find(query_start, batch, TOKENS: tl.constexpr, BATCH: tl.constexpr):
    """Which tile of which sequence this program has: (sequence, first token, the sequence's length, its first row).

    Sequence b's tiles begin at query_start[b] // TOKENS + b: early enough for all of those before it.
    """
    b = tl.arange(0, BATCH)
    begins = tl.load(query_start + b, b < batch, other=0) // TOKENS + b
    sequence = tl.sum(((begins <= tl.program_id(0)) & (b < batch)).to(tl.int32)) - 1
    base = tl.load(query_start + sequence)
    first = (tl.program_id(0) - (base // TOKENS + sequence)) * TOKENS
    return sequence, first, tl.load(query_start + sequence + 1) - base, base


@kernel
def _rows(first, length, base, kv_head, kv_heads, GROUP: tl.constexpr, TOKENS: tl.constexpr, BLOCK_M: tl.constexpr):
    """Of each row of the tile: its token in the sequence, its line of the output (T * Hq), whether it is one."""
    row = tl.arange(0, BLOCK_M)
    token = first + row // GROUP
    valid = (row < TOKENS * GROUP) & (token < length)
    line = ((base + token).to(tl.int64) * kv_heads + kv_head) * GROUP + row % GROUP
    return token, line, valid


@kernel
def _span(context, first, length, TOKENS: tl.constexpr, WINDOW: tl.constexpr):
    """Positions that any row of the tile sees: from low, below limit."""
    limit = context + tl.minimum(first + TOKENS, length)
    low = limit * 0
    if WINDOW:
        low = tl.maximum(context + first - WINDOW + 1, 0)
    return low, limit
