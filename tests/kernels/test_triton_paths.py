"""What the launchers choose by the number of rows changes no bit: whole chunks or splits a program, or one each."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from aphrodite_kernels.attention import CASES
from aphrodite_kernels.case import Case, relative_error
from aphrodite_kernels.matmul import matmul, pack
from tests.kernels.checking import same_bits, truth_of
from tests.kernels.interpreting import INTERPRETED
from tests.kernels.story import tell

pytestmark = pytest.mark.slow

Path = Callable[[str], None]


@pytest.fixture
def shipped(backend: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Takes "whole", "in parts", or "shared": in parts of which a program takes several."""
    if backend != "triton":
        pytest.skip("only the Triton launchers choose")
    from aphrodite_kernels.gpu import attention as on_gpu
    from aphrodite_kernels.gpu import matmul as product

    def choose(name: str) -> None:
        monkeypatch.setattr(product, "fills_device", lambda *_: name == "whole")
        monkeypatch.setattr(on_gpu, "_is_uneven", lambda *_: name != "whole")
        monkeypatch.setattr(on_gpu, "num_processors", lambda _: 1 if name == "shared" else 1000)
        monkeypatch.setattr(on_gpu, "SHARING", 4)

    return choose


@pytest.fixture
def path(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same with tiles, chunks and splits so small that tiny inputs have several."""
    from aphrodite_kernels.gpu import attention as on_gpu
    from aphrodite_kernels.gpu import matmul as product

    tiles = {"BLOCK_M": 16, "BLOCK_N": 16, "BLOCK_K": 16, "CHUNK": 32, "num_warps": 4, "num_stages": 2}
    splits = {"BLOCK_M": 16, "TILE": 16, "SPLIT": 32, "num_warps": 4, "num_stages": 2}
    monkeypatch.setattr(product, "settings_of", lambda *_: tiles)
    monkeypatch.setattr(on_gpu, "settings_of", lambda *_: splits)
    return shipped


DTYPES = [torch.float32] if INTERPRETED else [torch.float32, torch.bfloat16, torch.float16]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("quantized", [False, True], ids=["", "int8"])
def test_matmul(quantized: bool, dtype: torch.dtype, path: Path, generator: torch.Generator) -> None:
    plain, bias = torch.randn(40, 150, generator=generator).to(dtype), torch.randn(40, generator=generator).to(dtype)
    weight = pack(plain, bias, quantized=quantized)
    x = torch.randn(35, 150, generator=generator).to(dtype)
    path("whole")
    whole = matmul(x, weight, out_dtype=torch.float32)
    expected = x.double() @ weight.unpack().double().T + bias.double()
    assert relative_error(whole, expected) < (4e-3 if quantized else 1e-5)  # unpacked, int8 is rounded to dtype
    path("in parts")
    for start, stop in ((0, 35), (0, 1), (17, 34), (34, 35)):
        assert same_bits(matmul(x[start:stop].contiguous(), weight, out_dtype=torch.float32), whole[start:stop])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("options", [{}, {"window": 40}, {"softcap": 5.0}, {"window": 9, "softcap": 5.0}], ids=str)
def test_attention_of_prompts_parts_and_decoded_tokens(
    options: dict, dtype: torch.dtype, path: Path, generator: torch.Generator
) -> None:
    story = tell([90, 33], 6, 2, 24, dtype, generator, **options)
    path("whole")
    prompt = story.ask((0, 0, 90))[0]
    assert not prompt.isnan().any()
    for name in ("in parts", "shared", "whole"):
        path(name)
        assert same_bits(story.ask((1, 0, 33), (0, 60, 90))[1], prompt[60:])
        assert same_bits(story.ask((0, 47, 48), (1, 32, 33))[0], prompt[47:48])


@pytest.mark.parametrize("case", [CASES[1], CASES[5]], ids=lambda case: case.name)
@pytest.mark.parametrize("name", ["in parts", "shared"])
def test_attention_in_parts_is_accurate(name: str, case: Case, path: Path, generator: torch.Generator) -> None:
    path(name)
    inputs = case.make(generator.device, torch.float32, generator)
    assert relative_error(case.run(**inputs), truth_of(case, inputs)) < case.tolerance


@pytest.mark.not_interpreted
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("quantized", [False, True], ids=["", "int8"])
@pytest.mark.parametrize(("n", "k"), [(1024, 3072), (8320, 1024)])
def test_matmul_as_it_ships(
    n: int, k: int, quantized: bool, dtype: torch.dtype, shipped: Path, generator: torch.Generator
) -> None:
    weight = pack(torch.randn(n, k, generator=generator).to(dtype), quantized=quantized)
    x = torch.randn(4096, k, generator=generator).to(dtype)
    shipped("whole")
    whole = matmul(x, weight, out_dtype=torch.float32)
    for name in ("whole", "in parts"):
        shipped(name)
        for start, stop in ((0, 1), (0, 64), (7, 307), (0, 4096)):
            assert same_bits(matmul(x[start:stop].contiguous(), weight, out_dtype=torch.float32), whole[start:stop])


@pytest.mark.not_interpreted
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("dim", [64, 128, 256])
def test_attention_as_it_ships(dim: int, dtype: torch.dtype, shipped: Path, generator: torch.Generator) -> None:
    story = tell([1500, 40, 700], 8, 2, dim, dtype, generator)
    shipped("whole")
    prompt = story.ask((0, 0, 1500))[0]
    for name in ("in parts", "shared", "whole"):
        shipped(name)
        assert same_bits(story.ask((1, 0, 40), (0, 1000, 1500))[1], prompt[1000:])
        assert same_bits(story.ask((2, 699, 700), (0, 1499, 1500), (1, 39, 40))[1], prompt[1499:])
        assert same_bits(story.ask((0, 1024, 1025))[0], prompt[1024:1025])
