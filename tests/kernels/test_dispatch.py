"""Which backend runs, how the native library is built, and how many cores there are."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from aphrodite_kernels import dispatch, native, threads
from aphrodite_kernels.dispatch import Backend, Facts, choose

BARE = Facts(compiler=None, triton=False, interpreted=False)
WITH_C = Facts(compiler="/usr/bin/cc", triton=False, interpreted=False)
FULL = Facts(compiler="/usr/bin/cc", triton=True, interpreted=False)
INTERPRETER = Facts(compiler="/usr/bin/cc", triton=True, interpreted=True)


@pytest.mark.parametrize(
    ("wanted", "device", "has", "expected"),
    [
        ("auto", "cpu", FULL, Backend.NATIVE),
        ("auto", "cpu", BARE, Backend.REFERENCE),
        ("auto", "cuda", FULL, Backend.TRITON),
        ("auto", "cuda", WITH_C, Backend.REFERENCE),
        ("auto", "cpu", INTERPRETER, Backend.NATIVE),
        ("auto", "cuda", INTERPRETER, Backend.REFERENCE),
        ("auto", "mps", FULL, Backend.REFERENCE),
        ("native", "cpu", FULL, Backend.NATIVE),
        ("triton", "cuda", FULL, Backend.TRITON),
        ("triton", "cpu", INTERPRETER, Backend.TRITON),
        ("reference", "cpu", FULL, Backend.REFERENCE),
        ("reference", "cuda", FULL, Backend.REFERENCE),
    ],
)
def test_backend_follows_declared_facts(wanted: str, device: str, has: Facts, expected: Backend) -> None:
    assert choose(wanted, device, has) is expected


@pytest.mark.parametrize(
    ("wanted", "device", "has", "reason"),
    [
        ("native", "cpu", BARE, "C compiler"),
        ("native", "cuda", FULL, "not on cuda"),
        ("triton", "cpu", FULL, "CUDA tensors, not on cpu"),
        ("triton", "cuda", BARE, "triton is not installed"),
        ("triton", "cuda", INTERPRETER, "interpreter runs on CPU tensors"),
    ],
)
def test_an_explicit_choice_that_cannot_run_says_why(wanted: str, device: str, has: Facts, reason: str) -> None:
    with pytest.raises(RuntimeError, match=reason):
        choose(wanted, device, has)


def test_an_op_on_the_cpu_does_not_import_triton() -> None:
    code = """
import sys
import torch
before = "triton" in sys.modules
from aphrodite_kernels.rms_norm import rms_norm
rms_norm(torch.ones(2, 8), torch.ones(8), 1e-6)
print(before, "triton" in sys.modules, "aphrodite_kernels.gpu" in sys.modules)
"""
    assert in_a_new_process(code).stdout.strip() == "False False False"


def in_a_new_process(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_an_unknown_setting_raises_when_first_asked() -> None:
    done = in_a_new_process("from aphrodite_kernels import dispatch; dispatch.backend('cpu')", APHRODITE_KERNELS="fast")
    assert done.returncode == 1
    assert "APHRODITE_KERNELS='fast' is not one of" in done.stderr


def test_importing_the_package_does_not_import_torch() -> None:
    done = in_a_new_process("import aphrodite_kernels, sys; print('torch' in sys.modules)")
    assert done.stdout.strip() == "False", done.stderr


def test_the_compiler_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    assert native.find_compiler() is None


def test_a_failing_compiler_shows_its_output(tmp_path: Path) -> None:
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\n[ \"$1\" = --version ] && exit 0\necho 'error: no such flag' >&2\nexit 3\n")
    broken.chmod(0o755)
    with pytest.raises(native.NativeBuildError, match="no such flag"):
        native.build(str(broken), (), tmp_path)
    assert not list(tmp_path.glob("*.so"))


def test_the_cache_is_private_and_falls_back_where_it_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = native.cache_folder()
    assert folder == tmp_path / "aphrodite" / "native"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert native.cache_folder().name.startswith("aphrodite-native-")


@pytest.mark.skipif(dispatch.compiler() is None, reason="no C compiler")
def test_torch_and_the_library_share_one_openmp_runtime() -> None:
    native.compiled()
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("no /proc")
    loaded = {line.split()[-1] for line in maps.read_text().splitlines() if "libgomp" in line and "scikit" not in line}
    assert len(loaded) <= 1


def test_physical_cores_are_at_least_one_and_at_most_the_cpus() -> None:
    assert 1 <= threads.physical_cores() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("content", "expected"), [("max 100000\n", None), ("250000 100000\n", 2), ("5000 100000\n", 1)]
)
def test_a_cgroup_quota_is_read(content: str, expected: int | None, tmp_path: Path) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(content)
    assert threads._quota(file) == expected
    assert threads._quota(tmp_path / "absent") is None
