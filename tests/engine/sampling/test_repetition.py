"""Steps that look at history, against references that search it by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aphrodite_engine.sampling.suffixes import SuffixMatches
from tests.engine.sampling.rows import logit_rows, make_row
from tests.engine.sampling.test_steps import apply

#: Few kinds of tokens, so that there is much repetition.
TOKENS = st.lists(st.integers(0, 3), min_size=1, max_size=24)


def common_end(left: list[int], right: list[int]) -> int:
    count = 0
    while count < min(len(left), len(right)) and left[-1 - count] == right[-1 - count]:
        count += 1
    return count


@given(TOKENS, TOKENS)
def test_suffix_matches_are_the_longest_common_ends_however_they_grew(prompt: list[int], output: list[int]) -> None:
    grown, whole = SuffixMatches(prompt), [*prompt, *output]
    for token in output:
        grown.add(token)
    expected = [common_end(whole[: i + 1], whole) for i in range(len(whole) - 1)]
    assert grown.lengths.tolist() == expected == SuffixMatches(whole).lengths.tolist()
    assert grown.token_ids.tolist() == whole


def test_a_long_prompt_of_one_token_is_no_trap() -> None:
    matches = SuffixMatches([7] * 4000)
    assert matches.lengths[-1] == 3999 and matches.lengths[0] == 1


# ---- no_repeat_ngram


@given(logit_rows(rows=1, vocab=17), TOKENS, st.lists(st.integers(0, 3), max_size=24), st.integers(1, 5))
def test_no_run_of_n_tokens_comes_twice(logits: torch.Tensor, prompt: list[int], output: list[int], n: int) -> None:
    row = make_row(vocab=17, prompt=prompt, output=output, no_repeat_ngram_size=n)
    after = apply("no_repeat_ngram", logits, [row])[0]
    whole = [*prompt, *output]
    last = tuple(whole[len(whole) - (n - 1) :]) if len(whole) >= n - 1 else None
    banned = {whole[i + n - 1] for i in range(len(whole) - n + 1) if tuple(whole[i : i + n - 1]) == last}
    expected = logits[0].clone()
    expected[sorted(banned)] = -torch.inf
    if (expected == -torch.inf).all():
        expected = torch.where(logits[0] == logits[0].max(), logits[0], -torch.inf)
    assert torch.equal(after, expected)


# ---- dry


def dry(
    logits: np.ndarray, history: list[int], m: float, b: float, allowed: int, last: int, breakers: set[int]
) -> np.ndarray:
    """From the formula, by hand, for one row."""
    h = history[-last:] if last else history
    result = logits.astype(np.float64)
    longest: dict[int, int] = {}
    if h[-1] in breakers:
        return result
    for i in range(len(h) - 1):
        if h[i] != h[-1]:
            continue
        k = 0
        while k <= i and h[i - k] == h[len(h) - 1 - k] and h[i - k] not in breakers:
            k += 1
        longest[h[i + 1]] = max(longest.get(h[i + 1], 0), k)
    for token, k in longest.items():
        if k >= allowed:
            result[token] -= m * b ** (k - allowed)
    return result


@given(
    logit_rows(rows=1, vocab=17),
    TOKENS,
    st.lists(st.integers(0, 3), max_size=24),
    st.tuples(st.sampled_from([0.1, 0.8, 5.0]), st.sampled_from([1.0, 1.75, 3.0])),
    st.integers(1, 4),
    st.sampled_from([0, 1, 2, 5, 100]),
    st.sets(st.integers(0, 3), max_size=2),
)
def test_dry_punishes_going_on_with_a_repetition(
    logits: torch.Tensor,
    prompt: list[int],
    output: list[int],
    strength: tuple[float, float],
    allowed: int,
    last: int,
    breakers: set[int],
) -> None:
    m, b = strength
    row = make_row(
        vocab=17, prompt=prompt, output=output, breakers=sorted(breakers),
        dry_multiplier=m, dry_base=b, dry_allowed_length=allowed, dry_range=last,
    )  # fmt: skip
    after = apply("dry", logits, [row])[0].double().numpy()
    expected = dry(logits[0].numpy(), [*prompt, *output], m, b, allowed, last, breakers)
    np.testing.assert_allclose(after, expected, rtol=1e-5, atol=1e-5)


def test_dry_by_hand() -> None:
    # ... 1 2 3 | 1 2: the next 3 would make a repetition of two tokens three long.
    row = make_row(prompt=[1, 2, 3, 1, 2], dry_multiplier=0.8, dry_base=1.75, dry_allowed_length=2)
    change = (torch.zeros(1, 16) - apply("dry", torch.zeros(1, 16), [row]))[0]
    assert change.nonzero().flatten().tolist() == [3]
    assert change[3].item() == pytest.approx(0.8)
    shorter = make_row(prompt=[1, 2, 3, 1, 2], dry_multiplier=0.8, dry_allowed_length=1)
    assert apply("dry", torch.zeros(1, 16), [shorter])[0, 3].item() == pytest.approx(-0.8 * 1.75)


def test_a_token_that_is_alone_can_be_drawn_whatever_dry_thinks_of_it() -> None:
    logits = torch.full((1, 16), -torch.inf)
    logits[0, 7] = 1.0
    row = make_row(prompt=[7] * 3000, dry_multiplier=100.0, dry_base=100.0)
    assert (apply("dry", logits, [row]) > -torch.inf).nonzero().tolist() == [[0, 7]]
