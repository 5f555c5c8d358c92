"""x (M, K) times weight (N, K) transposed on a GPU, each row for itself. The weight may be int8 with a scale a column.

K is cut into chunks of a fixed length. A chunk's products are added up in one accumulator, in order, and the chunks'
sums are added in order. Many rows: one program runs through all chunks. Few rows, which would leave most of the device
idle: a program a chunk, then `_add_chunks`. Both round alike, so the number of rows may choose between them; tiles and
chunks are chosen by N, K and dtypes alone, and nothing is added atomically.
"""

from __future__ import annotations

import torch
import triton.language as tl

from aphrodite_kernels.gpu.launch import EXACT, WIDEN, ceil_div, fills_device, kernel, kernel_for_any
from aphrodite_kernels.gpu.tuning import Settings, tuned

CANDIDATES: tuple[Settings, ...] = tuple(
    {"BLOCK_M": m, "BLOCK_N": n, "BLOCK_K": k, "CHUNK": chunk, "num_warps": warps, "num_stages": stages}
    for m, n, warps in ((64, 32, 4), (64, 64, 4), (64, 128, 4), (128, 128, 8), (64, 256, 4))
    for k, stages in ((64, 3), (64, 5), (128, 3))
    for chunk in (256, 512, 1024, 2048)
)
#: Beyond so many rows a program takes twice BLOCK_M with twice the warps: each weight is read half as often, and the
#: instructions, of 64 rows (16 before Hopper) each, are the same.
MANY_ROWS = 256
#: Rows and columns that a program of `_add_chunks` adds up: any size gives the same bits.
ADDED = (16, 128)


def matmul(
    x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor | None, bias: torch.Tensor | None, out: torch.Tensor
) -> None:
    """out = (x @ weight^T) * scale + bias, accumulated in float32; scale and bias are (N,) float32."""
    (rows, depth), columns = x.shape, weight.shape[0]
    if not rows:
        return
    wide = WIDEN or x.dtype is torch.float32 or weight.dtype not in (torch.int8, x.dtype)
    settings = settings_of(weight, x.dtype)
    if rows > MANY_ROWS and not wide and settings["BLOCK_M"] == 64:
        settings = settings | {name: 2 * settings[name] for name in ("BLOCK_M", "num_warps")} | {"num_stages": 3}
    tiles = (ceil_div(rows, settings["BLOCK_M"]), ceil_div(columns, settings["BLOCK_N"]))
    chunks = ceil_div(depth, settings["CHUNK"])
    split = chunks > 1 and not fills_device(tiles[0] * tiles[1], x.device)
    target = torch.empty((chunks, rows, columns), dtype=torch.float32, device=x.device) if split else out
    finish = (x if scale is None else scale, x if bias is None else bias)
    has = {"HAS_SCALE": scale is not None, "HAS_BIAS": bias is not None}
    _matmul[(*tiles, chunks if split else 1)](
        x, weight, *finish, target, rows, columns, depth,
        SPLIT=split, WIDE=wide, **has, **settings, **EXACT,
    )  # fmt: skip
    if split:
        _add_chunks[(ceil_div(rows, ADDED[0]), ceil_div(columns, ADDED[1]))](
            target, *finish, out, chunks, rows, columns, BLOCK_M=ADDED[0], BLOCK_N=ADDED[1], **has, **EXACT
        )


def settings_of(weight: torch.Tensor, activations: torch.dtype) -> Settings:
    """Tile, chunk, warps and stages for a weight (N, K); the same for any number of rows."""
    columns, depth = weight.shape
    sizes = f"N{columns}_K{depth}_{str(weight.dtype).removeprefix('torch.')}"
    if activations is torch.float32 or weight.dtype is torch.float32:
        return tuned(
            "matmul", f"{sizes}_wide", BLOCK_M=32, BLOCK_N=64, BLOCK_K=32, CHUNK=512, num_warps=4, num_stages=3
        )
    block_n = 64 if columns <= 8192 else 128
    return tuned("matmul", sizes, BLOCK_M=64, BLOCK_N=block_n, BLOCK_K=64, CHUNK=512, num_warps=4, num_stages=4)


@kernel_for_any("rows")
def _matmul(
    x, weight, scale, bias, out, rows, columns, depth,
    SPLIT: tl.constexpr, WIDE: tl.constexpr, HAS_SCALE: tl.constexpr, HAS_BIAS: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    column = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    if SPLIT:
        part = _chunk(
            x, weight, row, column, tl.program_id(2), rows, columns, depth, WIDE, BLOCK_M, BLOCK_N, BLOCK_K, CHUNK
        )
        inside = (row < rows)[:, None] & (column < columns)[None, :]
        place = (tl.program_id(2).to(tl.int64) * rows + row)[:, None] * columns + column[None, :]
        tl.store(out + place, part, inside)
    else:
        total = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
        for chunk in range(0, tl.cdiv(depth, CHUNK)):
            total += _chunk(x, weight, row, column, chunk, rows, columns, depth, WIDE, BLOCK_M, BLOCK_N, BLOCK_K, CHUNK)
        _finish(total, scale, bias, out, row, column, rows, columns, HAS_SCALE, HAS_BIAS)


@kernel
def _chunk(
    x, weight, row, column, chunk, rows, columns, depth,
    WIDE: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """The products of one chunk of K, added up in order: (BLOCK_M, BLOCK_N) float32."""
    step = tl.arange(0, BLOCK_K)
    x_row = x + row.to(tl.int64)[:, None] * depth
    weight_column = weight + column.to(tl.int64)[None, :] * depth
    part = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for start in range(chunk * CHUNK, tl.minimum((chunk + 1) * CHUNK, depth), BLOCK_K):
        at = start + step
        a = tl.load(x_row + at[None, :], (row < rows)[:, None] & (at < depth)[None, :], other=0.0)
        b = tl.load(weight_column + at[:, None], (column < columns)[None, :] & (at < depth)[:, None], other=0)
        if WIDE:
            part = tl.dot(a.to(tl.float32), b.to(tl.float32), part, input_precision="ieee")
        else:
            part = tl.dot(a, b.to(a.dtype), part)
    return part


@kernel_for_any("rows")
def _add_chunks(
    parts, scale, bias, out, chunks, rows, columns,
    HAS_SCALE: tl.constexpr, HAS_BIAS: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    column = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    inside = (row < rows)[:, None] & (column < columns)[None, :]
    total = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for chunk in range(0, chunks):
        place = (chunk * rows + row.to(tl.int64))[:, None] * columns + column[None, :]
        total += tl.load(parts + place, inside, other=0.0)
    _finish(total, scale, bias, out, row, column, rows, columns, HAS_SCALE, HAS_BIAS)


@kernel
def _finish(total, scale, bias, out, row, column, rows, columns, HAS_SCALE: tl.constexpr, HAS_BIAS: tl.constexpr):
    """Scale, add the bias, round and write."""
    if HAS_SCALE:
        total *= tl.load(scale + column, column < columns, other=0.0)[None, :]
    if HAS_BIAS:
        total += tl.load(bias + column, column < columns, other=0.0)[None, :]
    inside = (row < rows)[:, None] & (column < columns)[None, :]
    place = row.to(tl.int64)[:, None] * columns + column[None, :]
    tl.store(out + place, total.to(out.dtype.element_ty), inside)
