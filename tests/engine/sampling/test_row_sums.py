"""Sums along rows as CUDA needs them, shown on whatever device is there: right, and each row for itself."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from aphrodite_engine.sampling import row_sums
from aphrodite_engine.sampling.row_sums import by_doubling, by_halves

SIZES = (1, 2, 3, 64, 1027, 5001)
Along = Callable[[torch.Tensor], torch.Tensor]


@pytest.mark.parametrize("size", SIZES)
def test_they_are_right(size: int) -> None:
    values = torch.randn(3, size, dtype=torch.float64, generator=torch.Generator().manual_seed(size))
    for row, total, running in zip(values.tolist(), by_halves(values), by_doubling(values), strict=True):
        bound = 1e-16 * math.ceil(math.log2(size) + 1) * math.fsum(map(abs, row))
        assert abs(float(total) - math.fsum(row)) <= bound
        assert running.shape == (size,)
        assert abs(float(running[size // 2]) - math.fsum(row[: size // 2 + 1])) <= bound


def test_running_sums_never_fall() -> None:
    steps = torch.rand(2, 3000, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) ** 9
    assert bool((by_doubling(steps).diff() >= -1e-13).all())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("function", [by_halves, by_doubling], ids=lambda function: function.__name__)
def test_a_row_alone_is_the_row_in_a_batch(function: Along, size: int) -> None:
    values = torch.randn(7, size, generator=torch.Generator().manual_seed(size))
    together = function(values)
    for row in range(7):
        assert torch.equal(function(values[row : row + 1]), together[row : row + 1])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("function", [torch.softmax, torch.log_softmax], ids=lambda function: function.__name__)
def test_rows_that_are_padded_are_the_softmax_of_what_is_there(function: Along, size: int) -> None:
    logits = torch.randn(3, size, generator=torch.Generator().manual_seed(size))
    logits[0, 1:] = -torch.inf
    padded = row_sums._aligned(function, logits)
    assert padded.is_contiguous()
    torch.testing.assert_close(padded, function(logits, dim=1), rtol=2e-6, atol=0)  # type: ignore[call-arg]
