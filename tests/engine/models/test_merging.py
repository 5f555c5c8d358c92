"""Merging while loading: the same values as torch's, out of parts that are gone afterwards."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from aphrodite_engine.models.merging import FrugalMerge


def _parts(count: int = 3) -> list[torch.Tensor]:
    return list(torch.arange(count * 4 * 5, dtype=torch.float32).view(count, 4, 5).unbind())


@pytest.mark.parametrize(
    "merge",
    [
        lambda parts: torch.stack(parts),
        lambda parts: torch.stack(parts, dim=1),
        lambda parts: torch.cat(parts),
        lambda parts: torch.cat(parts, dim=1),
        lambda parts: torch.cat([torch.stack(parts[:2]), torch.stack(parts[2:])], dim=1),
    ],
)
def test_merged_parts_are_what_torch_makes_of_them(merge: Callable[[list[torch.Tensor]], torch.Tensor]) -> None:
    expected, frugal = merge(_parts(4)), FrugalMerge()
    parts = [frugal.spend(part.clone()) for part in _parts(4)]
    with frugal:
        merged = merge(parts)
    assert torch.equal(merged, expected)
    assert not any(part.numel() for part in parts)


def test_a_spent_part_fails_on_its_shape_when_it_is_used_again() -> None:
    frugal = FrugalMerge()
    first, second = (frugal.spend(part.clone()) for part in _parts(2))
    with frugal:
        torch.stack([first, second])
    with pytest.raises(RuntimeError, match="size"):
        torch.add(first, torch.ones(4, 5))


def test_parts_that_do_not_fit_are_refused_as_torch_does() -> None:
    frugal = FrugalMerge()
    parts = [frugal.spend(torch.zeros(2, 3)), frugal.spend(torch.zeros(1, 3))]
    with frugal, pytest.raises(RuntimeError, match="equal size"):
        torch.stack(parts)


def test_other_people_s_tensors_are_left_alone() -> None:
    frugal, mine = FrugalMerge(), torch.ones(2, 3)
    with frugal:
        torch.stack([mine, frugal.spend(torch.zeros(2, 3))])
        torch.cat((mine, mine))
    assert mine.sum() == 6
