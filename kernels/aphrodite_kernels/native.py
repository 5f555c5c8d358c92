"""The native library: C sources compiled at first use, cached on disk, called through ctypes.

The cache is `$XDG_CACHE_HOME/aphrodite/native` (or `~/.cache/...`), a folder only its owner can read; the file name is
a hash of everything that goes into the build. Where that folder cannot be written, a folder of this process is used.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import torch

SOURCES = Path(__file__).parent / "native"
# No -ffast-math and no contraction: the order and rounding of every operation is what the source says.
# -O2 with -O3's vectoriser: as fast as -O3 here, and compiled in two thirds of its time.
FLAGS = (
    *("-O2", "-ftree-vectorize", "-fvect-cost-model=dynamic", "-std=gnu11", "-fPIC", "-fvisibility=hidden"),
    *("-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off"),
)

DTYPE_CODES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}
WEIGHT_CODES = {**DTYPE_CODES, torch.int8: 3}

_P, _I, _L, _F = ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_float
_SIGNATURES: dict[str, tuple[object, list[object]]] = {
    "panel": (_L, []),
    "pack_rows": (None, [_P, _P, _L, _L, _L, _I, _I]),
    "weight_rows": (_L, [_P, _P, _P, _L, _L, _L, _I, _I]),
    "matmul": (_I, [_P, _I, _P, _I, _P, _P, _P, _I, _L, _L, _L, _I]),
    "rms_norm": (None, [_P, _P, _P, _P, _I, _L, _L, _F, _I]),
    "rope": (None, [_P, _L, _L, _P, _L, _L, _I, _L, _L, _L, _P, _P, _P, _P, _F, _I]),
    "silu_mul": (None, [_P, _P, _I, _L, _L, _I]),
    "kv_store": (None, [_P, _L, _P, _L, _P, _P, _P, _I, _L, _L, _L, _I]),
    "attention": (None, [_P, _L, _I, _P, _P, _I, _P, _L, _P, _P, _P, _L, _L, _L, _L, _F, _L, _F, _I]),
    "decoder_layers": (_I, [_P, _P, _L, _P, _P, _P, _P, _L, _L, _I]),
    "philox_uniform": (None, [_P, _P, _P, _L, _P, _L, _L, _I]),
    "argmax": (None, [_P, _P, _L, _L, _I]),
    "nucleus": (_I, [_P, _P, _P, _L, _L, _I]),
    "gumbel_argmax": (None, [_P, _P, _P, _P, _L, _P, _L, _L, _I]),
}


class NativeBuildError(RuntimeError):
    """The C compiler was found but did not compile the library; the message carries its output."""


class Library:
    """The loaded library: one attribute for each C function, with its argument types set."""

    def __init__(self, path: Path) -> None:
        self.path = path
        handle = ctypes.CDLL(str(path))
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(handle, f"aphrodite_{name}")
            function.restype, function.argtypes = result, arguments
            setattr(self, name, function)

    def __getattr__(self, name: str) -> Callable[..., int]:  # functions are set in __init__: this is for type checkers
        raise AttributeError(f"the native library has no function {name!r}")


@cache
def compiled() -> Library:
    """Compile the library if this machine has not done so yet, and load it.

    Raises:
        NativeBuildError: the compiler failed.
        RuntimeError: there is no compiler.
    """
    compiler = find_compiler()
    if compiler is None:
        raise RuntimeError("the native kernels need a C compiler: none of cc, gcc, clang is on PATH and CC is not set")
    return Library(build(compiler, machine_flags(), cache_folder()))


def find_compiler() -> str | None:
    """The C compiler: `$CC`, else the first of cc, gcc, clang on PATH, else None."""
    named = os.environ.get("CC")
    return shutil.which(named) if named else next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)


def machine_flags() -> tuple[str, ...]:
    """The flags that make the compiler use what this processor has."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return ("-mcpu=native",)
    # Without a preference gcc vectorises loops with half of what AVX-512 has.
    return ("-march=native", "-mprefer-vector-width=512")


def cache_folder() -> Path:
    """Where built libraries are kept; created with mode 0700. A folder of this process where that is not writable."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = home / "aphrodite" / "native"
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return _process_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


@cache
def _process_folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="aphrodite-native-"))


def build(compiler: str, machine: tuple[str, ...], folder: Path) -> Path:
    """Compile the sources into `folder` unless the same build is there already; the path of the library.

    Safe with several processes at once: each builds beside the target and renames, and all builds are equal.
    """
    openmp = openmp_library()
    target = folder / f"{_fingerprint(compiler, machine, openmp)}.so"
    if target.exists():
        return target
    with tempfile.TemporaryDirectory(dir=folder, prefix="build-") as work:
        objects = _compile(compiler, machine, Path(work))
        finished = Path(work) / target.name
        # Named by path: torch has loaded this file already, so both share one pool of threads.
        link = [str(openmp)] if openmp else ["-fopenmp"]
        _run([compiler, "-shared", *map(str, objects), *link, "-lm", "-o", str(finished)])
        finished.replace(target)
    return target


def openmp_library() -> Path | None:
    """The OpenMP runtime that torch brings along and has loaded; None: the system's."""
    root = Path(torch.__file__).parent
    folders = (root / "lib", root.parent / "torch.libs")
    return next((path for folder in folders for path in sorted(folder.glob("libgomp*.so*"))), None)


def _compile(compiler: str, machine: tuple[str, ...], work: Path) -> list[Path]:
    sources = sorted(SOURCES.glob("*.c"), key=lambda path: -len(path.read_bytes()))
    objects = [work / f"{source.stem}.o" for source in sources]
    commands = [
        [compiler, *FLAGS, *machine, "-fopenmp", "-c", str(source), "-o", str(target)]
        for source, target in zip(sources, objects, strict=True)
    ]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(_run, commands))
    return objects


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NativeBuildError(
            f"the C compiler failed ({done.returncode}): {' '.join(command)}\n{done.stdout}{done.stderr}\n"
            "APHRODITE_KERNELS=reference runs without native kernels, more slowly"
        )


def _fingerprint(compiler: str, machine: tuple[str, ...], openmp: Path | None) -> str:
    digest = hashlib.sha256()
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False).stdout
    for part in (compiler, version, *FLAGS, *machine, str(openmp), platform.machine(), _cpu_flags()):
        digest.update(part.encode() + b"\0")
    for source in sorted(SOURCES.glob("*.[ch]")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()[:32]


def _cpu_flags() -> str:
    """What the processor can do, so that a home folder shared between machines keeps a build for each kind."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor()
    lines = info.read_text().splitlines()
    return next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
