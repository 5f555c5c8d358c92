"""The nucleus against a sort in float64, and what it does with rows that are no distributions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from aphrodite_kernels.case import Case
from aphrodite_kernels.nucleus import CASES, nucleus, nucleus_reference
from tests.kernels.checking import run_case


def masses(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_both_backends_agree_with_a_sort(case: Case, backend: str, generator: torch.Generator) -> None:
    run_case(case, torch.float32, generator)


@pytest.mark.parametrize("spread", [0.01, 1.0, 6.0, 40.0])
def test_both_backends_keep_the_same_tokens(spread: float, generator: torch.Generator) -> None:
    probabilities = (spread * torch.randn(40, 3001, generator=generator)).softmax(-1)
    mass = torch.rand(40, generator=generator, dtype=torch.float64).clamp_min(1e-6)
    assert torch.equal(nucleus(probabilities, mass), nucleus_reference(probabilities, mass))


def test_equals_at_the_edge_are_kept_from_the_lowest_id_on(backend: str) -> None:
    probabilities = torch.tensor([[0.1, 0.2, 0.2, 0.2, 0.2, 0.1]])
    for mass, kept in ((0.15, [1]), (0.25, [1, 2]), (0.75, [1, 2, 3, 4]), (0.85, [0, 1, 2, 3, 4])):
        assert nucleus(probabilities, masses(mass))[0].nonzero().flatten().tolist() == kept


def test_a_certain_token_is_kept_alone_and_impossible_ones_never(backend: str) -> None:
    probabilities = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.5, 0.5]])
    keep = nucleus(probabilities, masses(0.999, 1.0))
    assert keep.tolist() == [[False, True, False], [False, True, True]]


def test_a_mass_that_rounding_never_reaches_keeps_all_that_is_possible(backend: str) -> None:
    probabilities = torch.tensor([[0.3, 0.0, 0.3, 0.3]])
    assert nucleus(probabilities, masses(0.99)).tolist()[0][0::2] == [True, True]
    assert nucleus(probabilities, masses(0.99)).tolist()[0][3]


def test_nan_is_never_kept(backend: str) -> None:
    probabilities = torch.tensor([[torch.nan] * 4, [0.25] * 4])
    assert nucleus(probabilities, masses(0.5, 0.5)).tolist() == [[False] * 4, [True, True, False, False]]


def test_a_row_is_the_same_alone_and_with_any_threads(
    backend: str, threads: Callable[[int], None], generator: torch.Generator
) -> None:
    probabilities = torch.randn(31, 8001, generator=generator).softmax(-1)
    mass = torch.linspace(0.05, 0.99, 31, dtype=torch.float64)
    whole = nucleus(probabilities, mass)
    threads(1)
    assert torch.equal(nucleus(probabilities, mass), whole)
    for i in (0, 15, 30):
        assert torch.equal(nucleus(probabilities[i : i + 1], mass[i : i + 1]), whole[i : i + 1])


def test_errors_name_the_shapes() -> None:
    with pytest.raises(ValueError, match=r"mass must be \(2,\) float64"):
        nucleus(torch.zeros(2, 3), masses(0.5))
    with pytest.raises(ValueError, match="float16"):
        nucleus(torch.zeros(2, 3).half(), masses(0.5, 0.5))
    with pytest.raises(ValueError, match="at least one token"):
        nucleus(torch.zeros(1, 0), masses(0.5))
