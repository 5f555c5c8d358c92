"""Shared by the kernel tests: both backends, thread counts that are put back, and a seeded generator."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

from aphrodite_kernels import dispatch
from aphrodite_kernels.dispatch import Backend


@pytest.fixture(params=["native", "reference"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the test once on each backend."""
    if request.param == "native" and dispatch.compiler() is None:
        pytest.skip("no C compiler")
    monkeypatch.setattr(dispatch, "backend", lambda device_type: Backend(request.param))
    return request.param


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
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(20)
