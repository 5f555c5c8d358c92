"""Shared by the kernel tests: every backend on its device, thread counts that are put back, a seeded generator.

The same bodies run everywhere: C and plain torch on the CPU, Triton on a GPU (marked `gpu`), and, in a process with
TRITON_INTERPRET=1 (test_interpreter.py starts it), Triton's interpreter on the CPU (`interpreting`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

from aphrodite_kernels import dispatch
from aphrodite_kernels.dispatch import Backend
from tests.kernels.interpreting import INTERPRETED, can_be_interpreted, interpreter_as_a_gpu

ON_A_GPU = pytest.param("triton", marks=pytest.mark.gpu)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In the interpreter: only what says something about it."""
    if INTERPRETED:
        items[:] = [item for item in items if can_be_interpreted(item)]


@pytest.fixture(params=["triton"] if INTERPRETED else ["native", "reference", ON_A_GPU])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Run the test once on each backend; new tensors are made on its device."""
    if request.param == "native" and dispatch.compiler() is None:
        pytest.skip("no C compiler")
    monkeypatch.setattr(dispatch, "backend", lambda device_type: Backend(request.param))
    torch.set_default_device("cuda" if request.param == "triton" and not INTERPRETED else "cpu")
    with interpreter_as_a_gpu():
        yield request.param
    torch.set_default_device(None)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """These tensors are tiny: on a busy machine a second thread only waits to be scheduled."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def threads() -> Callable[[int], None]:
    """Set the number of threads for the rest of the test."""
    return torch.set_num_threads


@pytest.fixture
def generator(request: pytest.FixtureRequest) -> torch.Generator:
    """Of the backend's device, or the CPU's."""
    if "backend" in request.fixturenames:
        request.getfixturevalue("backend")
    return torch.Generator(torch.get_default_device()).manual_seed(20)
