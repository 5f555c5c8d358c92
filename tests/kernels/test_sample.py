"""Counter-based randomness against published vectors, and the two ways to choose a token."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from aphrodite_kernels import dispatch
from aphrodite_kernels.case import Case
from aphrodite_kernels.dispatch import Backend
from aphrodite_kernels.sample import (
    CASES,
    argmax,
    gumbel_argmax,
    philox_uniform,
    philox_uniform_reference,
    philox_words_reference,
)
from tests.kernels.checking import run_case, same_bits

# Random123's kat_vectors for philox4x32, 10 rounds: counter, key, output.
KNOWN_ANSWERS = [
    ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


def streams(rows: int, seed: int = 7) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    place = torch.arange(rows)
    return place * 2**40 + seed, place % 3, place * 5 + 11


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_philox_gives_the_published_words(counter: list[int], key: list[int], expected: list[int]) -> None:
    words = philox_words_reference([torch.tensor([x]) for x in key], [torch.tensor([x]) for x in counter])
    assert [int(word) for word in words] == expected


def test_uniforms_come_from_the_published_words(backend: str) -> None:
    # The other two vectors have token counters beyond any vocabulary.
    zero = torch.tensor([0])
    assert philox_uniform(zero, zero, zero, 0, 4)[0].tolist() == [
        (2 * (x >> 9) + 1) / 2**24 for x in KNOWN_ANSWERS[0][2]
    ]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_both_backends_give_the_same_numbers(case: Case, backend: str, generator: torch.Generator) -> None:
    run_case(case, torch.float32, generator)


def test_seeds_and_positions_of_any_size_agree_bit_for_bit(backend: str, generator: torch.Generator) -> None:
    a, b, c = torch.randint(-(2**63), 2**63 - 1, (3, 40), generator=generator)
    assert same_bits(philox_uniform(a, b, c, 2**32 - 1, 129), philox_uniform_reference(a, b, c, 2**32 - 1, 129))


@pytest.mark.not_interpreted
def test_uniforms_are_uniform_and_open(backend: str) -> None:
    u = philox_uniform(*streams(4), 0, 100_000)
    assert u.min() > 0
    assert u.max() < 1
    assert abs(float(u.double().mean()) - 0.5) < 3e-3  # 6 sigma
    assert abs(float(u.double().var()) - 1 / 12) < 1e-3


def test_every_part_of_the_key_matters(backend: str) -> None:
    five, six = torch.tensor([5]), torch.tensor([6])
    base = philox_uniform(five, five, five, 5, 64)
    for parts in ((six, five, five), (five, six, five), (five, five, six)):
        assert not torch.equal(philox_uniform(*parts, 5, 64), base)
    assert not torch.equal(philox_uniform(five, five, five, 6, 64), base)


@pytest.mark.not_interpreted
def test_draws_follow_the_softmax(backend: str) -> None:
    rows, logits = 20_000, torch.tensor([0.0, 1.0, -torch.inf, 2.0, -1.0])
    drawn = gumbel_argmax(logits.expand(rows, -1).contiguous(), *streams(rows), 1)
    counts = torch.bincount(drawn, minlength=5).double()
    expected = logits.double().softmax(-1) * rows
    assert counts[2] == 0
    keep = expected > 0
    chi_square = ((counts - expected)[keep].square() / expected[keep]).sum()
    assert chi_square < 21.1  # 3 degrees of freedom, p = 1e-4


@pytest.mark.parametrize("vocab", [1, 61, 64, 1000, 4099])
@pytest.mark.parametrize("spread", [0.5, 20.0])
def test_gumbel_is_the_argmax_of_logits_and_noise(
    vocab: int, spread: float, backend: str, generator: torch.Generator
) -> None:
    logits = spread * torch.randn(30, vocab, generator=generator)
    noise = -(-philox_uniform_reference(*streams(30), 3, vocab).double().log()).log()
    drawn = gumbel_argmax(logits, *streams(30), 3)
    best = (logits.double() + noise).max(-1)
    chosen = (logits.double() + noise).gather(1, drawn[:, None])[:, 0]
    assert torch.allclose(chosen, best.values, atol=1e-5 * spread, rtol=0)  # float32 may split a near tie otherwise


def test_a_row_is_drawn_the_same_alone_and_with_any_threads(
    backend: str, threads: Callable[[int], None], generator: torch.Generator
) -> None:
    logits, keys = torch.randn(9, 3001, generator=generator), streams(9)
    whole = gumbel_argmax(logits, *keys, 2)
    threads(1)
    assert torch.equal(gumbel_argmax(logits, *keys, 2), whole)
    for i in (0, 4, 8):
        one = slice(i, i + 1)
        assert torch.equal(gumbel_argmax(logits[one], keys[0][one], keys[1][one], keys[2][one], 2), whole[one])


@pytest.mark.skipif(dispatch.compiler() is None, reason="no C compiler")
def test_a_draw_is_the_same_token_on_every_backend(
    backend: str, monkeypatch: pytest.MonkeyPatch, generator: torch.Generator
) -> None:
    logits, keys = 3 * torch.randn(20, 3001, generator=generator), streams(20)
    drawn = gumbel_argmax(logits, *keys, 2).cpu()
    monkeypatch.setattr(dispatch, "backend", lambda device_type: Backend.NATIVE)
    assert torch.equal(gumbel_argmax(logits.cpu(), keys[0].cpu(), keys[1].cpu(), keys[2].cpu(), 2), drawn)


@pytest.mark.parametrize("vocab", [1, 2, 63, 64, 65, 500])
def test_argmax_takes_the_lowest_of_equals(vocab: int, backend: str, generator: torch.Generator) -> None:
    logits = torch.randint(0, 3, (40, vocab), generator=generator).float()
    expected = [row.index(max(row)) for row in logits.tolist()]
    assert argmax(logits).tolist() == expected


def test_infinities_and_nans(backend: str) -> None:
    inf, nan = torch.inf, torch.nan
    logits = torch.tensor([[-inf, nan, -5.0], [-inf, -inf, -inf], [nan, nan, nan], [1.0, inf, nan]])
    assert argmax(logits).tolist() == [2, -1, -1, 1]
    assert gumbel_argmax(logits, *streams(4), 0).tolist() == [2, -1, -1, 1]


def test_errors_name_the_shapes() -> None:
    keys = streams(2)
    with pytest.raises(ValueError, match="float16"):
        argmax(torch.zeros(2, 3).half())
    with pytest.raises(ValueError, match=r"seeds must be \(3,\)"):
        gumbel_argmax(torch.zeros(3, 4), *keys, 0)
    with pytest.raises(ValueError, match=r"position must be \(2,\)"):
        philox_uniform(keys[0], keys[1], torch.zeros(3, dtype=torch.int64), 0, 4)
    with pytest.raises(ValueError, match="purpose"):
        philox_uniform(*keys, -1, 4)
