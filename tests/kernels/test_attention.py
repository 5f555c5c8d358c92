"""Paged attention: accuracy, and a query that gets the same bits however its sequence is cut up and batched."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch

from aphrodite_kernels.attention import CASES, attention
from aphrodite_kernels.case import Case
from aphrodite_kernels.kv_store import allocate_kv
from tests.kernels.checking import run_case, same_bits
from tests.kernels.story import tell

DTYPES = [torch.float32, torch.bfloat16, torch.float16]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_error_against_float64_is_small(
    case: Case, dtype: torch.dtype, backend: str, generator: torch.Generator
) -> None:
    run_case(case, dtype, generator)


@pytest.mark.not_interpreted
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    ("heads", "kv_heads", "dim", "options"),
    [
        (4, 2, 16, {}),
        (3, 3, 24, {}),
        (5, 1, 80, {"window": 50}),
        (2, 1, 64, {"softcap": 5.0}),
        (14, 2, 64, {"window": 70, "softcap": 30.0}),
        (1, 1, 8, {"window": 1}),
    ],
)
def test_prefill_chunks_and_decode_give_the_same_bits(
    heads: int, kv_heads: int, dim: int, options: dict, dtype: torch.dtype, backend: str, generator: torch.Generator
) -> None:
    story = tell([150, 67], heads, kv_heads, dim, dtype, generator, **options)
    whole = story.ask((0, 0, 150))[0]
    assert not whole.isnan().any()
    for cuts in ([0, 1, 64, 65, 128, 150], [0, 16, 17, 63, 100, 149, 150], [0, 75, 150]):
        parts = [story.ask((0, start, stop))[0] for start, stop in itertools.pairwise(cuts)]
        assert same_bits(torch.cat(parts), whole), cuts
    for position in (0, 1, 15, 16, 63, 64, 65, 127, 128, 149):
        assert same_bits(story.ask((0, position, position + 1))[0][0], whole[position]), position


@pytest.mark.not_interpreted
def test_neighbours_and_their_order_change_nothing(backend: str, generator: torch.Generator) -> None:
    story = tell([150, 67, 1, 128], 6, 2, 32, torch.float32, generator)
    whole = [story.ask((b, 0, length))[0] for b, length in enumerate((150, 67, 1, 128))]
    mixed = story.ask((3, 127, 128), (0, 20, 99), (2, 0, 1), (1, 0, 67))
    for got, expected in zip(mixed, (whole[3][127:], whole[0][20:99], whole[2], whole[1]), strict=True):
        assert same_bits(got, expected)


def test_threads_do_not_change_the_result(
    backend: str, threads: Callable[[int], None], generator: torch.Generator
) -> None:
    story = tell([150, 67], 4, 2, 64, torch.float32, generator)
    threads(1)
    one = story.ask((0, 0, 150), (1, 66, 67))
    threads(2)
    for _ in range(2):
        assert all(same_bits(a, b) for a, b in zip(story.ask((0, 0, 150), (1, 66, 67)), one, strict=True))


def test_later_positions_of_the_same_block_cannot_leak(backend: str, generator: torch.Generator) -> None:
    story = tell([40], 2, 1, 16, torch.float32, generator)
    before = story.ask((0, 0, 30))[0]
    block = int(story.tables[0, 1])
    story.caches[0][block, :, :, 14:] = torch.nan
    story.caches[1][block, :, 14:] = torch.nan
    assert same_bits(story.ask((0, 0, 30))[0], before)


def test_queries_may_be_a_view_of_a_packed_row(backend: str, generator: torch.Generator) -> None:
    story = tell([20], 4, 2, 16, torch.float32, generator)
    expected = story.ask((0, 0, 20))[0]
    packed = torch.randn(20, 8, 16, generator=generator)
    packed[:, :4] = story.queries[0]
    story.queries[0] = packed[:, :4]
    story_out = torch.full((20, 64), torch.nan)
    arguments = (story.tables, torch.tensor([0, 20]).int(), torch.tensor([0]).int(), 0.25)
    attention(packed[:, :4], *story.caches, *arguments, out=story_out)
    assert same_bits(story_out, expected)


def test_a_cache_of_another_type_than_the_queries(backend: str, generator: torch.Generator) -> None:
    story = tell([30], 4, 2, 16, torch.bfloat16, generator)
    story.queries[0] = story.queries[0].float()
    out = story.ask((0, 0, 30))[0]
    assert out.dtype is torch.float32
    assert same_bits(story.ask((0, 29, 30))[0][0], out[29])


def test_errors_name_the_shapes(generator: torch.Generator) -> None:
    k, v = allocate_kv(2, 16, 2, 16, torch.float32)
    table, start, context = torch.zeros(1, 2).int(), torch.tensor([0, 3]).int(), torch.zeros(1).int()
    q = torch.zeros(3, 4, 16)
    with pytest.raises(ValueError, match=r"multiple of 2.*\(3, 3, 16\)"):
        attention(q[:, :3].contiguous(), k, v, table, start, context, 1.0)
    with pytest.raises(ValueError, match="query_start"):
        attention(q, k, v, table, start[:1].contiguous(), context, 1.0)
    with pytest.raises(ValueError, match="block_tables"):
        attention(q, k, v, table.long(), start, context, 1.0)
    with pytest.raises(ValueError, match="window"):
        attention(q, k, v, table, start, context, 1.0, window=0)
    with pytest.raises(ValueError, match="softcap"):
        attention(q, k, v, table, start, context, 1.0, softcap=-1.0)
    with pytest.raises(ValueError, match="allocate_kv"):
        k, v = allocate_kv(2, 16, 2, 24, torch.float32)
        attention(q, v, k, table, start, context, 1.0)
