"""The fused draw on a GPU: two kernels, no sort, nothing atomic, nothing read back. R rows, V tokens.

`_shape` cuts each row into pieces, a program each. Where a row drops no tokens it draws, and the best of the pieces is
the row's. Where one does, it keeps the largest logit of every group of tokens: n groups whose largest is not below a
bound hold n tokens that are not, so the n-th largest of these bounds what top_k or a peaked nucleus can keep from
below, without a look at the row. `_select`, a program a row, gathers the few tokens above the bound, finds the exact
thresholds among them by halving the bits of a float, and draws. Only where more are left than it gathers (a large
top_k, a flat nucleus) it goes through the whole row in every step. Sums are in float64, in an order that V decides.
"""

from __future__ import annotations

import torch
import triton.language as tl

from aphrodite_kernels.draw import FIELDS
from aphrodite_kernels.gpu.functions import exp_f32, log_f32
from aphrodite_kernels.gpu.launch import EXACT, ceil_div, kernel, next_power_of_two
from aphrodite_kernels.gpu.sample import best_of_row, uniforms, uniforms_of
from aphrodite_kernels.gpu.thresholds import edge, mass_from, nth
from aphrodite_kernels.gpu.tuning import tuned

#: Groups that `_select` can look at at once; where a row has more, groups are larger.
MOST_GROUPS = 8192

#: Sizes of the work, powers of two. PIECE: tokens of a program of `_shape`. GROUP: tokens of a group. GATHERED: tokens
#: that `_select` gathers at most. TRIED: of the groups, how many it tries for a nucleus. BLOCK: tokens that it looks at
#: at once where it takes the whole row.
SETTINGS = {"PIECE": 2048, "GROUP": 32, "GATHERED": 4096, "TRIED": 1024, "BLOCK": 8192, "num_warps": 16}
CANDIDATES = tuple(
    {**SETTINGS, "PIECE": piece, "GATHERED": gathered, "TRIED": gathered // 4, "BLOCK": block, "num_warps": warps}
    for piece in (1024, 2048)
    for gathered, block, warps in ((2048, 4096, 8), (4096, 8192, 16), (2048, 8192, 16), (4096, 16384, 32))
)

NUM_FIELDS = tl.constexpr(len(FIELDS))
TEMPERATURE, TOP_P, MIN_P, REPETITION, FREQUENCY, PRESENCE, TOP_K = (tl.constexpr(i) for i in range(7))
SEED, SEQUENCE, POSITION, PURPOSE, SEEN, COUNTS = (tl.constexpr(i) for i in range(7, 13))


def draw(logits: torch.Tensor, table: torch.Tensor, out: torch.Tensor, drops: bool) -> None:
    """Set out (R,) int64; drops: any row does, so that there must be room for what is left."""
    rows, vocab = logits.shape
    if not rows:
        return
    chosen = tuned("draw", f"V{vocab}", **SETTINGS)
    piece, group = chosen["PIECE"], max(chosen["GROUP"], next_power_of_two(ceil_div(vocab, MOST_GROUPS)))
    pieces = ceil_div(vocab, piece)
    groups = pieces * (piece // group)

    def room(width: int, dtype: torch.dtype) -> torch.Tensor:
        return torch.empty((rows, width), dtype=dtype, device=logits.device)

    best, where, mass = room(pieces, torch.float32), room(pieces, torch.int32), room(pieces, torch.float64)
    gathered = chosen["GATHERED"] if drops else 0
    peaks, listed = (room(groups if drops else 0, dtype) for dtype in (torch.float32, torch.int32))
    values, weights, ids = (room(gathered, dtype) for dtype in (torch.float32, torch.float32, torch.int32))
    line = room(vocab if drops else 0, torch.float32)
    _shape[(rows, pieces)](
        logits, table, peaks, best, where, mass, vocab, pieces, PIECE=piece, GROUP=group, num_warps=4, **EXACT
    )
    _select[(rows,)](
        logits, table, peaks, best, where, mass, listed, values, weights, ids, line, out, vocab, pieces, groups,
        PIECES=next_power_of_two(pieces), GROUPS=next_power_of_two(groups), GROUP=group, GATHERED=chosen["GATHERED"],
        TRIED=chosen["TRIED"], BLOCK=chosen["BLOCK"], num_warps=chosen["num_warps"], **EXACT,
    )  # fmt: skip


@kernel
def _shape(
    logits, table, peaks, best, where, mass, vocab, pieces, PIECE: tl.constexpr, GROUP: tl.constexpr
):  # fmt: skip
    """The largest logit of each group; and of the piece its best token, or the mass beside its largest logit."""
    row, piece = tl.program_id(0).to(tl.int64), tl.program_id(1)
    entry = table + row * NUM_FIELDS
    at = piece * PIECE + tl.arange(0, PIECE)
    value = _shaped(logits + row * vocab, entry, at, at < vocab)
    place = row * pieces + piece
    if _drops(entry):
        group = tl.arange(0, PIECE // GROUP)
        tl.store(peaks + place * (PIECE // GROUP) + group, tl.max(value.reshape(PIECE // GROUP, GROUP), 1))
        top = tl.max(value, 0)
        tl.store(best + place, top)
        if tl.load(entry + TOP_K) == 0:
            tl.store(mass + place, tl.sum(_weight(value, top, -float("inf")).to(tl.float64), 0))
    else:
        if _number(entry, TEMPERATURE) != 0:
            u = uniforms(
                entry + SEED, entry + SEQUENCE, entry + POSITION, tl.load(entry + PURPOSE), 0, piece * (PIECE // 4),
                PIECE // 4,
            )  # fmt: skip
            value = value - log_f32(-log_f32(u))
        top, index = tl.max(value, 0, return_indices=True)  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]
        tl.store(best + place, top)
        tl.store(where + place, piece * PIECE + index)


@kernel
def _select(
    logits, table, peaks, best, where, mass, listed, values, weights, ids, line, out, vocab, pieces, groups,
    PIECES: tl.constexpr, GROUPS: tl.constexpr, GROUP: tl.constexpr, GATHERED: tl.constexpr, TRIED: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    entry = table + row * NUM_FIELDS
    logits, line = logits + row * vocab, line + row * vocab
    best, mass, peaks, listed = best + row * pieces, mass + row * pieces, peaks + row * groups, listed + row * groups
    values, weights, ids = values + row * GATHERED, weights + row * GATHERED, ids + row * GATHERED
    if _drops(entry):
        token = tl.full((), -1, tl.int32)
        place = tl.arange(0, PIECES)
        tops = tl.load(best + place, place < pieces, other=-float("inf"))
        top = tl.max(tops, 0)
        if top > -float("inf"):
            bound = _bound(entry, peaks, top, vocab, groups, GROUPS, GATHERED, TRIED)
            settled = False
            if (bound > -float("inf")) | (vocab <= GATHERED):
                found = _gather(
                    logits, entry, peaks, listed, values, ids, bound, vocab, groups, GROUPS, GROUP, GATHERED
                )
                if found <= GATHERED:
                    share = _weight(tops, top, -float("inf")).to(tl.float64)
                    total = tl.sum(share * tl.load(mass + place, place < pieces, other=0.0), 0)
                    token, settled = _pick(
                        logits, entry, values, weights, ids, found, top, bound, total, vocab, GATHERED, False
                    )
            if settled == False:  # noqa: E712  # a value of the device
                for start in range(0, vocab, BLOCK):
                    at = start + tl.arange(0, BLOCK)
                    tl.store(line + at, _shaped(logits, entry, at, at < vocab), at < vocab)
                tl.debug_barrier()
                nothing = tl.zeros((), tl.float64)
                token, settled = _pick(
                    logits, entry, line, line, ids, vocab, top, -float("inf"), nothing, vocab, BLOCK, True
                )
        tl.store(out + row, token.to(tl.int64))
    else:
        best_of_row(best, where + row * pieces, out + row, pieces, PIECES)


@kernel
def _drops(entry):
    """Whether a row's request drops tokens; a greedy one has no use for it."""
    some = (tl.load(entry + TOP_K) > 0) | (_number(entry, TOP_P) < 1) | (_number(entry, MIN_P) > 0)
    return some & (_number(entry, TEMPERATURE) != 0)


@kernel
def _number(entry, FIELD: tl.constexpr):
    """A field that is a float64."""
    return tl.load(entry + FIELD).to(tl.float64, bitcast=True)


@kernel
def _shaped(logits, entry, at, inside):
    """Logits behind penalties and temperature; -infinity for NaN and for what is not inside."""
    value = tl.load(logits + at, inside, other=-float("inf"))
    seen = tl.load(entry + SEEN)
    if seen != 0:
        said = tl.load(seen.to(tl.pointer_type(tl.uint8)) + at, inside, other=0)
        count = tl.load(tl.load(entry + COUNTS).to(tl.pointer_type(tl.float32)) + at, inside, other=0.0)
        repetition = _number(entry, REPETITION).to(tl.float32) + tl.zeros_like(value)
        value = tl.where(said != 0, tl.where(value > 0, tl.div_rn(value, repetition), value * repetition), value)
        frequency, presence = _number(entry, FREQUENCY).to(tl.float32), _number(entry, PRESENCE).to(tl.float32)
        value = tl.where(count > 0, value - frequency * count - presence, value)
    temperature = _number(entry, TEMPERATURE).to(tl.float32)
    if (temperature != 0) & (temperature != 1):
        value = tl.div_rn(value, temperature + tl.zeros_like(value))
    return tl.where(value == value, value, -float("inf"))


@kernel
def _weight(value, top, least):
    """e^(value - top), 0 below `least`; also where the largest is infinite."""
    weight = exp_f32(tl.where(value == top, 0.0, value - top))
    return tl.where((value >= least) & (value > -float("inf")), weight, 0.0)


@kernel
def _bound(
    entry, peaks, top, vocab, groups, GROUPS: tl.constexpr, GATHERED: tl.constexpr, TRIED: tl.constexpr
):  # fmt: skip
    """What a logit must reach to be looked at; -infinity: all of them."""
    bound = -float("inf") + tl.zeros((), tl.float32)
    top_k = tl.load(entry + TOP_K)
    if (top_k > 0) & (vocab > GATHERED):
        bound = nth(peaks, top_k, groups, GROUPS)
    if (top_k == 0) & (vocab > GATHERED):
        if _number(entry, TOP_P) < 1:
            bound = nth(peaks, tl.minimum(TRIED, groups // 2).to(tl.int64), groups, GROUPS)
        bound = tl.maximum(bound, _floor_of_min_p(entry, top))
    return bound


@kernel
def _floor_of_min_p(entry, top):
    """A logit that min_p surely drops, a little below those that it may keep."""
    share = _number(entry, MIN_P).to(tl.float32)
    floor = top + log_f32(tl.maximum(share, 1e-30)) - 0.01 - 1e-6 * tl.abs(top)
    return tl.where((share >= 1e-30) & (top < float("inf")), floor, -float("inf"))


@kernel
def _gather(
    logits, entry, peaks, listed, values, ids, bound, vocab, groups,
    GROUPS: tl.constexpr, GROUP: tl.constexpr, GATHERED: tl.constexpr,
):  # fmt: skip
    """Write the tokens that reach the bound, in order, as far as there is room; how many they are."""
    group = tl.arange(0, GROUPS)
    peak = tl.load(peaks + group, group < groups, other=-float("inf"))
    chosen = ((peak >= bound) & (peak > -float("inf"))).to(tl.int32)
    tl.store(listed + tl.cumsum(chosen, 0) - 1, group, chosen > 0)
    tl.debug_barrier()
    num_chosen, found = tl.sum(chosen, 0), 0
    num_at_once: tl.constexpr = GATHERED // GROUP
    for start in range(0, num_chosen, num_at_once):
        which = start + tl.arange(0, num_at_once)
        first = tl.load(listed + which, which < num_chosen, other=groups) * GROUP
        at = (first[:, None] + tl.arange(0, GROUP)[None, :]).reshape(GATHERED)
        value = _shaped(logits, entry, at, at < vocab)
        hit = ((value >= bound) & (value > -float("inf"))).to(tl.int32)
        place = found + tl.cumsum(hit, 0) - 1
        fits = (hit > 0) & (place < GATHERED)
        tl.store(values + place, value, fits)
        tl.store(ids + place, at, fits)
        found += tl.sum(hit, 0)
    tl.debug_barrier()
    return found


@kernel
def _pick(
    logits, entry, values, weights, ids, length, top, bound, total, vocab, BLOCK: tl.constexpr, WHOLE: tl.constexpr
):  # fmt: skip
    """The token drawn from the values; and whether they were enough, so that what they lack would have been dropped.

    WHOLE: they are the row, and their place takes their weights. `total`: the row's mass beside e^top.
    """
    top_k, top_p = tl.load(entry + TOP_K), _number(entry, TOP_P)
    least = -float("inf") + tl.zeros((), tl.float32)
    if top_k > 0:
        least = nth(values, top_k, length, BLOCK)
    low, above, wanted = 0, tl.zeros((), tl.float64), tl.zeros((), tl.float64)
    settled = True
    if top_p < 1:
        tl.debug_barrier()
        for start in range(0, length, BLOCK):
            at = start + tl.arange(0, BLOCK)
            weight = _weight(tl.load(values + at, at < length, other=-float("inf")), top, least)
            tl.store(weights + at, weight, at < length)
        tl.debug_barrier()
        if WHOLE | (top_k > 0):
            total = mass_from(weights, 0, length, BLOCK)
        wanted = top_p * total
        low = edge(weights, wanted, length, BLOCK)
        above = mass_from(weights, low + 1, length, BLOCK)
        edge_of_bound = tl.sum(_weight(bound + tl.zeros((1,), tl.float32), top, least), 0).to(tl.int32, bitcast=True)
        dropped_below = (top_k > 0) | (bound == _floor_of_min_p(entry, top))
        settled = dropped_below | (bound == -float("inf")) | (low > edge_of_bound)
    token = tl.full((), -1, tl.int32)
    if settled:
        token = _draw_from(
            logits, entry, values, ids, length, top, least, low, above, wanted, vocab, BLOCK, WHOLE
        )  # fmt: skip
    return token, settled


@kernel
def _draw_from(
    logits, entry, values, ids, length, top, least, low, above, wanted, vocab, BLOCK: tl.constexpr, WHOLE: tl.constexpr
):  # fmt: skip
    """The best score of what top_k, top_p and min_p keep; -1 where they keep nothing."""
    floor = _number(entry, MIN_P).to(tl.float32)
    tie = tl.sum((low + tl.zeros((1,), tl.int32)).to(tl.float32, bitcast=True), 0).to(tl.float64)
    best, token, before = -float("inf") + tl.zeros((), tl.float32), tl.full((), -1, tl.int32), 0
    for start in range(0, length, BLOCK):
        at = start + tl.arange(0, BLOCK)
        if WHOLE:
            value = _shaped(logits, entry, at, at < vocab)
        else:
            value = tl.load(values + at, at < length, other=-float("inf"))
        weight = _weight(value, top, least)
        bits = weight.to(tl.int32, bitcast=True)
        tied = ((bits == low) & (low > 0)).to(tl.int32)
        rank = before + tl.cumsum(tied, 0) - 1  # equals are kept as if the row was walked down, the lower id first
        before += tl.sum(tied, 0)
        inside = (low == 0) | (bits > low) | ((tied > 0) & (above + rank.to(tl.float64) * tie < wanted))
        keep = inside & (value >= least) & (value > -float("inf")) & (weight >= floor)
        if tl.sum(keep.to(tl.int32), 0) > 0:
            if WHOLE:
                token_ids = at
                u = uniforms(
                    entry + SEED, entry + SEQUENCE, entry + POSITION, tl.load(entry + PURPOSE), 0, start // 4,
                    BLOCK // 4,
                )  # fmt: skip
            else:
                token_ids = tl.load(ids + at, at < length, other=0)
                u = uniforms_of(
                    entry + SEED, entry + SEQUENCE, entry + POSITION, tl.load(entry + PURPOSE), token_ids
                )  # fmt: skip
            score = tl.where(keep, value - log_f32(-log_f32(u)), -float("inf"))
            largest = tl.max(score, 0)
            lowest = tl.min(tl.where(score == largest, token_ids, 2147483647), 0)
            token = tl.where(largest > best, lowest, token)
            best = tl.maximum(best, largest)
    return token
