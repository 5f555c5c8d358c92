"""The library built for other vector widths keeps the promise too: AVX2 and plain C are tried where they can run."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
import torch

from aphrodite_kernels import (
    attention,
    decoder_layers,
    dispatch,
    matmul,
    native,
    nucleus,
    rms_norm,
    rope,
    sample,
    silu_mul,
)
from aphrodite_kernels.dispatch import Backend
from tests.kernels.checking import run_case, same_bits
from tests.kernels.story import tell

INTEL = platform.machine() == "x86_64"


def built_for(machine: tuple[str, ...], folder: Path) -> native.Library:
    compiler = dispatch.compiler()
    if compiler is None:
        pytest.skip("no C compiler")
    return native.Library(native.build(compiler, machine, folder))


pytestmark = pytest.mark.slow  # each is a build of its own, some seconds long
OTHER = ["x86-64-v3", "x86-64"] if INTEL else ["generic"]


@pytest.fixture(scope="module", params=OTHER)
def other_library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> native.Library:
    if request.param == "x86-64-v3" and "avx2" not in native._cpu_flags():
        pytest.skip("this processor has no AVX2")
    flag = f"-march={request.param}" if INTEL else f"-mcpu={request.param}"
    return built_for((flag,), tmp_path_factory.mktemp("other"))


@pytest.fixture
def library(other_library: native.Library, monkeypatch: pytest.MonkeyPatch) -> native.Library:
    monkeypatch.setattr(native, "compiled", lambda: other_library)
    monkeypatch.setattr(dispatch, "backend", lambda device_type: Backend.NATIVE)
    return other_library


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_every_case_is_accurate(dtype: torch.dtype, library: native.Library, generator: torch.Generator) -> None:
    for op in (decoder_layers, matmul, attention, rms_norm, rope, silu_mul, sample, nucleus):
        for case in op.CASES:
            run_case(case, dtype, generator)


def test_rows_do_not_depend_on_each_other(library: native.Library, generator: torch.Generator) -> None:
    weight, x = matmul.pack(torch.randn(77, 300, generator=generator)), torch.randn(30, 300, generator=generator)
    whole = matmul.matmul(x, weight)
    for count in range(1, 30):
        assert same_bits(matmul.matmul(x[:count].contiguous(), weight), whole[:count]), count
    story = tell([150], 6, 2, 40, torch.bfloat16, generator)
    prompt = story.ask((0, 0, 150))[0]
    for start, stop in ((0, 61), (61, 62), (62, 128), (128, 150), (149, 150)):
        assert same_bits(story.ask((0, start, stop))[0], prompt[start:stop])
