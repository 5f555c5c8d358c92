"""The fused draw against its steps one by one: every mix of what rows ask for, in one batch and alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from aphrodite_kernels.case import Case
from aphrodite_kernels.draw import CASES, Ask, Turn, draw, draw_reference, table_of
from aphrodite_kernels.sample import NOTHING, gumbel_argmax
from tests.kernels.checking import run_case

DROPPING = [
    {"top_k": 7}, {"top_p": 0.8}, {"min_p": 0.1}, {"top_k": 150}, {"top_k": 1000, "top_p": 0.999},
    {"top_k": 20, "top_p": 0.95}, {"top_k": 12, "min_p": 0.2}, {"top_p": 0.6, "min_p": 0.02}, {"top_k": 1},
    {"top_p": 1e-9}, {"min_p": 1.0}, {"top_k": 40, "top_p": 0.7, "min_p": 0.05}, {"min_p": 1e-40}, {"top_p": 0.05},
]  # fmt: skip
PENALTIES = {"repetition_penalty": 1.3, "frequency_penalty": 0.4, "presence_penalty": -0.3}


@pytest.fixture
def small_pieces(backend: str) -> Iterator[None]:
    """Sizes with which a few hundred tokens are several pieces, more than are gathered."""
    if backend != "triton":
        yield
        return
    from aphrodite_kernels.gpu.draw import SETTINGS
    from aphrodite_kernels.gpu.tuning import trying

    with trying("draw", {**SETTINGS, "PIECE": 64, "GROUP": 4, "GATHERED": 64, "TRIED": 16, "BLOCK": 64}):
        yield


@contextmanager
def poisoned() -> Iterator[None]:
    """While entered, new tensors hold NaN or the largest integer until they are written."""
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def turns_of(asks: list[Ask], vocab: int, generator: torch.Generator) -> list[Turn]:
    """With a history for those who ask for penalties."""
    turns: list[Turn] = []
    for row, ask in enumerate(asks):
        counts = torch.randint(0, 4, (vocab,), generator=generator).float()
        seen = (counts > 0) | (torch.rand(vocab, generator=generator) < 0.3)
        history = (seen, counts) if ask.presence_penalty else None
        turns.append(Turn((row - 3) * 2**40 + 5, row % 3, 11 * row, 65536 * (row % 2), history))
    return turns


def rows_of(spreads: list[float], vocab: int, generator: torch.Generator) -> torch.Tensor:
    return torch.tensor(spreads)[:, None] * torch.randn(len(spreads), vocab, generator=generator)


def drawn(logits: torch.Tensor, asks: list[Ask], turns: list[Turn]) -> list[int]:
    return draw(logits, table_of(asks, turns, logits.device)).tolist()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_is_what_its_steps_draw(case: Case, backend: str, generator: torch.Generator) -> None:
    run_case(case, torch.float32, generator)


@pytest.mark.parametrize("vocab", [1, 61, 64, 203])
def test_every_mix_of_steps_is_what_the_steps_draw_one_by_one(
    vocab: int, small_pieces: None, generator: torch.Generator
) -> None:
    shapes = [{}, {"temperature": 0.6}, {"temperature": 1.7, **PENALTIES}, {"temperature": 0, **PENALTIES}]
    kinds = [{**shape, **drop} for drop, shape in zip(DROPPING, itertools.cycle(shapes[:3]), strict=False)] + shapes
    asks, logits = [Ask(**kind) for kind in kinds], rows_of([0.5, 4.0] * (len(kinds) // 2), vocab, generator)
    turns, kept = turns_of(asks, vocab, generator), logits.clone()
    expected = draw_reference(logits, asks, turns).tolist()
    with poisoned():
        assert drawn(logits, asks, turns) == expected
    assert torch.equal(logits, kept)


def test_equals_at_an_edge_are_kept_or_dropped_as_by_the_steps(small_pieces: None, generator: torch.Generator) -> None:
    asks = [Ask(**kind) for kind in (*DROPPING, {"temperature": 0})]
    turns, logits = turns_of(asks, 131, generator), rows_of([2.0] * len(asks), 131, generator).round()
    logits[::2] /= 2
    logits[:, ::3] = -torch.inf
    assert drawn(logits, asks, turns) == draw_reference(logits, asks, turns).tolist()


@pytest.mark.parametrize("kind", [{"top_k": 5}, {"top_p": 0.41}, {"min_p": 0.4}, {"top_k": 40, "top_p": 0.41}], ids=str)
def test_what_may_be_drawn_is_what_is_kept(
    kind: dict[str, Any], small_pieces: None, generator: torch.Generator
) -> None:
    """Far apart or equal, so that it is plain which: of five equal ones top_p keeps the lower ids."""
    logits = torch.full((1, 200), -3.0)
    logits[0, [9, 70, 71, 150, 199]] = 4.0
    asks, turns = [Ask(**kind)] * 24, [Turn(seed) for seed in range(24)]
    possible = {9, 70, 71} if "top_p" in kind else {9, 70, 71, 150, 199}
    assert set(drawn(logits.expand(24, -1).contiguous(), asks, turns)) == possible


def test_a_row_is_drawn_the_same_alone(small_pieces: None, generator: torch.Generator) -> None:
    asks = [Ask(**PENALTIES, top_k=9), Ask(), Ask(top_p=0.9), Ask(temperature=0), Ask(min_p=0.2)]
    turns, logits = turns_of(asks, 257, generator), rows_of([0.1, 1, 3, 1, 5], 257, generator)
    together = drawn(logits, asks, turns)
    alone = [drawn(logits[row : row + 1], [ask], [turns[row]])[0] for row, ask in enumerate(asks)]
    assert alone == together
    assert drawn(logits.flip(0), asks[::-1], turns[::-1]) == together[::-1]
    assert drawn(logits, asks, turns) == together


def test_what_is_off_changes_nothing(backend: str, generator: torch.Generator) -> None:
    logits, asks = rows_of([3.0] * 6, 2500, generator), [Ask()] * 6
    turns = [turn._replace(purpose=7) for turn in turns_of(asks, 2500, generator)]
    seeds, sequence, position = torch.tensor([turn[:3] for turn in turns]).T.contiguous()
    assert drawn(logits, asks, turns) == gumbel_argmax(logits, seeds, sequence, position, 7).tolist()


def test_what_is_no_number_or_impossible_is_never_drawn(small_pieces: None) -> None:
    nan, inf = torch.nan, torch.inf
    logits = torch.full((4, 130), -inf)
    logits[1] = nan
    logits[2, [3, 100, 101]] = torch.tensor([nan, 1.0, -5.0])
    logits[3, 129] = -1e30
    for ask in (Ask(), Ask(temperature=0), Ask(top_k=2), Ask(top_p=0.5), Ask(min_p=0.5), Ask(top_k=9, top_p=0.5)):
        assert drawn(logits, [ask] * 4, [Turn()] * 4) == [NOTHING, NOTHING, 100, 129], ask


def test_no_rows_give_no_tokens(backend: str) -> None:
    assert drawn(torch.zeros(0, 5), [], []) == []


def test_errors_name_what_does_not_fit() -> None:
    table = table_of([Ask()] * 2, [Turn()] * 2, torch.device("cpu"))
    with pytest.raises(ValueError, match="float16"):
        draw(torch.zeros(2, 3).half(), table)
    with pytest.raises(ValueError, match=r"table must be \(3, 13\) torch.int64"):
        draw(torch.zeros(3, 4), table)
    for history, words in (
        ((torch.zeros(5, dtype=torch.bool), torch.zeros(4)), r"seen must be \(4,\) torch.bool"),
        ((torch.zeros(4, dtype=torch.bool), torch.zeros(4).double()), r"counts must be \(4,\) torch.float32"),
    ):
        with pytest.raises(ValueError, match=words):
            draw(torch.zeros(1, 4), table_of([Ask()], [Turn(history=history)], torch.device("cpu")))
