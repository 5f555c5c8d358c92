"""Matmul out of packed weights: accuracy, and rows that do not depend on each other."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from aphrodite_kernels.case import Case, relative_error
from aphrodite_kernels.matmul import CASES, PackedWeight, matmul, pack
from tests.kernels.checking import ROUNDING, run_case, same_bits

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
# Around every remainder of a strip of 6 or 12 rows, and beyond one group of strips.
ROW_COUNTS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 17, 24, 25, 61, 100]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_error_against_float64_is_small(
    case: Case, dtype: torch.dtype, backend: str, generator: torch.Generator
) -> None:
    run_case(case, dtype, generator)


@pytest.mark.not_interpreted
@pytest.mark.parametrize("quantized", [False, True], ids=["", "int8"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("n", "k"), [(61, 300), (64, 512), (193, 1031), (1, 8)])
def test_a_row_is_the_same_in_any_batch(
    n: int, k: int, dtype: torch.dtype, quantized: bool, backend: str, generator: torch.Generator
) -> None:
    plain, bias = torch.randn(n, k, generator=generator).to(dtype), torch.randn(n, generator=generator).to(dtype)
    weight = pack(plain, bias, quantized=quantized)
    x = torch.randn(ROW_COUNTS[-1], k, generator=generator).to(dtype)
    whole = matmul(x, weight, out_dtype=torch.float32)
    for count in ROW_COUNTS:
        assert same_bits(matmul(x[:count].contiguous(), weight, out_dtype=torch.float32), whole[:count]), count
        assert same_bits(matmul(x[-count:].contiguous(), weight, out_dtype=torch.float32), whole[-count:]), count
    order = torch.randperm(len(x), generator=generator)
    assert same_bits(matmul(x[order].contiguous(), weight, out_dtype=torch.float32), whole[order])


@pytest.mark.not_interpreted
def test_a_row_is_the_same_when_the_batch_takes_several_passes(backend: str, generator: torch.Generator) -> None:
    weight, x = pack(torch.randn(40, 17, generator=generator)), torch.randn(1600, 17, generator=generator)
    whole = matmul(x, weight)
    for row in (0, 1535, 1536, 1599):
        assert same_bits(matmul(x[row : row + 1], weight)[0], whole[row])


@pytest.mark.parametrize("rows", [1, 5, 40])
def test_threads_do_not_change_the_result(
    rows: int, backend: str, threads: Callable[[int], None], generator: torch.Generator
) -> None:
    weight, x = pack(torch.randn(300, 600, generator=generator)), torch.randn(rows, 600, generator=generator)
    threads(1)
    one = matmul(x, weight)
    threads(2)
    assert same_bits(matmul(x, weight), one)
    assert same_bits(matmul(x, weight), one)


@pytest.mark.parametrize("rows", [1, 13])
def test_every_output_is_written(rows: int, backend: str, generator: torch.Generator) -> None:
    weight, x = pack(torch.randn(45, 20, generator=generator)), torch.randn(rows, 20, generator=generator)
    out = torch.full((rows, 45), torch.nan)
    assert matmul(x, weight, out=out) is out
    assert same_bits(out, matmul(x, weight))


def test_no_rows_give_no_rows(backend: str) -> None:
    assert matmul(torch.empty(0, 8), pack(torch.ones(3, 8))).shape == (0, 3)


@pytest.mark.not_interpreted
def test_output_type_can_differ_from_the_input(backend: str, generator: torch.Generator) -> None:
    weight = pack(torch.randn(64, 96, generator=generator).bfloat16())
    x = torch.randn(3, 96, generator=generator).bfloat16()
    wide = matmul(x, weight, out_dtype=torch.float32)
    assert wide.dtype is torch.float32
    assert same_bits(wide.bfloat16(), matmul(x, weight))


def test_stacked_parts_equal_one_weight_and_the_list_is_consumed(backend: str, generator: torch.Generator) -> None:
    parts = [torch.randn(rows, 24, generator=generator) for rows in (40, 7, 33)]
    biases = [torch.randn(len(part), generator=generator) for part in parts]
    whole, x = torch.cat(parts), torch.randn(5, 24, generator=generator)
    expected = matmul(x, pack(whole, torch.cat(biases)))
    stacked = pack(parts, biases)
    assert parts == []
    assert torch.equal(stacked.unpack(), whole)
    assert same_bits(matmul(x, stacked), expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_rows_are_an_embedding_lookup(dtype: torch.dtype, backend: str, generator: torch.Generator) -> None:
    plain = torch.randn(77, 19, generator=generator).to(dtype)
    packed, ids = pack(plain), torch.tensor([0, 76, 31, 32, 31])
    assert torch.equal(packed.rows(ids), plain[ids])
    assert torch.equal(packed.unpack(), plain)
    assert packed.shape == (77, 19)
    assert packed.nbytes >= plain.nbytes


@pytest.mark.parametrize("quantized", [False, True], ids=["", "int8"])
def test_rows_out_of_range_are_refused(quantized: bool, backend: str) -> None:
    packed = pack(torch.ones(5, 8), quantized=quantized)
    if packed.device.type == "cuda":
        pytest.skip("CUDA raises a device assertion, which ends the process's use of the GPU")
    for bad in (5, -1):
        with pytest.raises(IndexError):
            packed.rows(torch.tensor([0, bad]))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_int8_rows_are_within_half_a_step_and_take_a_byte_a_weight(
    dtype: torch.dtype, backend: str, generator: torch.Generator
) -> None:
    plain = torch.randn(77, 640, generator=generator).to(dtype)
    plain[5] = 0
    packed = pack(plain.clone(), quantized=True)
    step = plain.float().abs().amax(dim=1, keepdim=True) / 127
    held = packed.unpack()
    assert held.dtype is dtype
    rounded = step / 2 + held.float().abs() * ROUNDING[dtype]
    assert bool(((held.float() - plain.float()).abs() <= rounded * 1.0001).all())
    assert not held[5].any()
    assert torch.equal(packed.rows(torch.tensor([76, 5, 0])), held[[76, 5, 0]])
    assert packed.nbytes < 96 * 640 + 77 * 4 + 1


def test_int8_parts_written_one_by_one_have_their_own_scales(backend: str, generator: torch.Generator) -> None:
    parts = [torch.randn(rows, 24, generator=generator) * size for rows, size in ((40, 1.0), (7, 100.0), (33, 0.01))]
    x, whole = torch.randn(5, 24, generator=generator), torch.cat(parts)
    stacked = pack(parts, quantized=True)
    assert same_bits(matmul(x, stacked), matmul(x, pack(whole, quantized=True)))
    assert relative_error(matmul(x, stacked), x.double() @ whole.double().T) < 0.01


def test_a_weight_that_is_not_finite_is_refused_as_int8(backend: str) -> None:
    weight = torch.ones(4, 8)
    weight[2, 3] = torch.inf
    with pytest.raises(ValueError, match="row 2 of the weight"):
        pack(weight, quantized=True)


def test_fast_mode_takes_the_c_kernel_where_there_is_one(backend: str, generator: torch.Generator) -> None:
    plain, x = torch.randn(50, 60, generator=generator), torch.randn(7, 60, generator=generator)
    fast = pack(plain, strict=False)
    assert fast.panel == pack(plain).panel
    assert (fast.panel > 0) == (backend == "native")
    assert relative_error(matmul(x, fast), x.double() @ plain.double().T) < 1e-6


def test_a_nan_stays_in_its_row(backend: str, generator: torch.Generator) -> None:
    weight, x = pack(torch.randn(40, 30, generator=generator)), torch.randn(14, 30, generator=generator)
    clean = matmul(x, weight)
    x[3] = torch.nan
    dirty = matmul(x, weight)
    assert dirty[3].isnan().all()
    keep = torch.arange(14) != 3
    assert same_bits(dirty[keep], clean[keep])


def test_errors_name_the_shapes() -> None:
    packed = pack(torch.ones(5, 8))
    with pytest.raises(ValueError, match=r"\(M, 8\).*\(2, 9\)"):
        matmul(torch.ones(2, 9), packed)
    with pytest.raises(ValueError, match="float64"):
        matmul(torch.ones(2, 8, dtype=torch.float64), packed)
    with pytest.raises(ValueError, match="contiguous"):
        matmul(torch.ones(8, 2).T, packed)
    with pytest.raises(ValueError, match=r"out must be \(2, 5\)"):
        matmul(torch.ones(2, 8), packed, out=torch.ones(2, 6))
    with pytest.raises(ValueError, match="int64"):
        packed.rows(torch.tensor([1], dtype=torch.int32))
    with pytest.raises(ValueError, match=r"bias must be \(5,\)"):
        pack(torch.ones(5, 8), torch.ones(4))
    with pytest.raises(ValueError, match="cannot take"):
        PackedWeight((5, 8), torch.float32).write(3, torch.ones(3, 8))
    with pytest.raises(ValueError, match="float16"):
        PackedWeight((5, 8), torch.float32).write(0, torch.ones(3, 8).half())
