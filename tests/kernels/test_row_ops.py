"""RMS norm, rotary embedding, silu(gate) * up and the KV store: accuracy and independence of rows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from aphrodite_kernels import kv_store as kv
from aphrodite_kernels import rms_norm as norm
from aphrodite_kernels import rope as rotary
from aphrodite_kernels import silu_mul as silu
from aphrodite_kernels.case import Case
from aphrodite_kernels.kv_store import allocate_kv, kv_bytes_per_block, kv_store
from aphrodite_kernels.rms_norm import add_rms_norm, rms_norm
from aphrodite_kernels.rope import rope
from aphrodite_kernels.silu_mul import silu_mul
from tests.kernels.checking import run_case, same_bits

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
EVERY = [
    pytest.param(case, id=f"{op.__name__.split('.')[-1]}-{case.name}")
    for op in (norm, rotary, silu, kv)
    for case in op.CASES
]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", EVERY)
def test_error_against_float64_is_small(
    case: Case, dtype: torch.dtype, backend: str, generator: torch.Generator
) -> None:
    run_case(case, dtype, generator)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("width", [8, 61, 1024])
def test_a_row_is_the_same_alone(width: int, dtype: torch.dtype, backend: str, generator: torch.Generator) -> None:
    x = torch.randn(67, 2 * width, generator=generator).to(dtype)
    a, b = (part.contiguous() for part in x.chunk(2, -1))
    weight = torch.rand(width, generator=generator).to(dtype)
    gated, normed, (added, total) = silu_mul(x), rms_norm(a, weight, 1e-6), add_rms_norm(a, b.clone(), weight, 1e-6)
    for i in (0, 5, 66):
        one = slice(i, i + 1)
        assert same_bits(silu_mul(x[one]), gated[one])
        assert same_bits(rms_norm(a[one], weight, 1e-6), normed[one])
        alone = add_rms_norm(a[one], b[one].clone(), weight, 1e-6)
        assert same_bits(alone[0], added[one])
        assert same_bits(alone[1], total[one])


def test_threads_do_not_change_the_result(
    backend: str, threads: Callable[[int], None], generator: torch.Generator
) -> None:
    x, weight = torch.randn(80, 2048, generator=generator), torch.rand(1024, generator=generator)
    results = []
    for count in (1, 2, 2):
        threads(count)
        gated = silu_mul(x)
        results.append((gated, rms_norm(gated, weight, 1e-6)))
    assert all(same_bits(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True))


def test_outputs_are_written_whole(backend: str, generator: torch.Generator) -> None:
    x, weight = torch.randn(9, 62, generator=generator), torch.rand(31, generator=generator)
    out = torch.full((9, 31), torch.nan)
    assert silu_mul(x, out=out) is out
    assert same_bits(out, silu_mul(x))
    expected = rms_norm(out, weight, 1e-6)
    assert rms_norm(out, weight, 1e-6, out=out) is out  # in place
    assert same_bits(out, expected)


def test_silu_of_large_numbers_is_finite(backend: str) -> None:
    gate_up = torch.tensor([[-1000.0, -100.0, 1000.0, 0.0, 1.0, 1.0, 1.0, 1.0]])
    assert torch.allclose(silu_mul(gate_up), torch.tensor([[0.0, 0.0, 1000.0, 0.0]]), atol=1e-35, rtol=1e-6)


@pytest.mark.not_interpreted  # which does not round to bfloat16 but cuts off
def test_the_residual_is_updated_in_place(backend: str, generator: torch.Generator) -> None:
    x, residual = torch.randn(2, 4, 32, generator=generator).bfloat16()
    expected = x + residual
    _, total = add_rms_norm(x, residual, torch.ones(32).bfloat16(), 1e-6)
    assert total is residual
    assert torch.equal(residual, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_rms_norm_rounds_as_transformers_does(dtype: torch.dtype, backend: str, generator: torch.Generator) -> None:
    x, weight = torch.randn(50, 256, generator=generator).to(dtype), torch.randn(256, generator=generator).to(dtype)
    wide = x.float()
    theirs = weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-5)).to(dtype)
    differing = (rms_norm(x, weight, 1e-5) != theirs).float().mean()
    assert differing < 1e-3  # the float32 before the rounding differs in its last bit


@pytest.mark.parametrize("with_norm", [False, True])
def test_rope_of_a_token_is_the_same_alone(with_norm: bool, backend: str, generator: torch.Generator) -> None:
    qkv = torch.randn(70, 8, 64, generator=generator)
    table, places = torch.rand(80, 64, generator=generator), torch.arange(70)
    norms = (torch.rand(64, generator=generator), torch.rand(64, generator=generator)) if with_norm else (None, None)
    batch, single = qkv.clone(), qkv[41:42].clone()
    for packed, at in ((batch, places), (single, places[41:42])):
        rope(packed[:, :4], packed[:, 4:6], at, table, *norms)
    assert same_bits(batch[41:42], single)
    assert same_bits(batch[:, 6:], qkv[:, 6:])


def test_zero_tokens_are_fine(backend: str) -> None:
    caches = allocate_kv(1, 16, 1, 8, torch.float32, torch.get_default_device())
    empty, none = torch.empty(0, 1, 8), torch.empty(0, dtype=torch.int64)
    assert silu_mul(torch.empty(0, 8)).shape == (0, 4)
    assert rms_norm(torch.empty(0, 8), torch.ones(8), 1e-6).shape == (0, 8)
    rope(empty, empty.clone(), none, torch.ones(4, 8))
    kv_store(empty, empty, *caches, none)


def test_bytes_of_a_block_are_what_is_allocated() -> None:
    keys, values = allocate_kv(3, 16, 2, 24, torch.bfloat16)
    assert keys.nbytes + values.nbytes == 3 * kv_bytes_per_block(16, 2, 24, torch.bfloat16)
    assert not keys.any()
    assert not values.any()


def test_errors_name_the_shapes() -> None:
    with pytest.raises(ValueError, match=r"\(T, 2F\).*\(2, 3\)"):
        silu_mul(torch.ones(2, 3))
    with pytest.raises(ValueError, match="float64"):
        silu_mul(torch.ones(2, 4).double())
    with pytest.raises(ValueError, match=r"weight must be \(4,\)"):
        rms_norm(torch.ones(2, 4), torch.ones(5), 1e-6)
    with pytest.raises(ValueError, match="residual"):
        add_rms_norm(torch.ones(2, 4), torch.ones(3, 4), torch.ones(4), 1e-6)
    with pytest.raises(ValueError, match="head_dim=12"):
        allocate_kv(1, 16, 1, 12, torch.float32)
    with pytest.raises(ValueError, match="block_size must be 16"):
        allocate_kv(1, 32, 1, 16, torch.float32)
    with pytest.raises(ValueError, match="int8"):
        allocate_kv(1, 16, 1, 16, torch.int8)
    heads = torch.ones(2, 2, 8)
    with pytest.raises(ValueError, match=r"positions must be \(2,\)"):
        rope(heads, heads.clone(), torch.zeros(3, dtype=torch.int64), torch.ones(4, 8))
    with pytest.raises(ValueError, match="together"):
        rope(heads, heads.clone(), torch.zeros(2, dtype=torch.int64), torch.ones(4, 8), q_norm=torch.ones(8))
    with pytest.raises(ValueError, match="match the cache"):
        kv_store(heads, heads, *allocate_kv(1, 16, 2, 8, torch.float16), torch.zeros(2, dtype=torch.int64))
