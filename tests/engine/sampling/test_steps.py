"""Each step against a slow float64 reference written from its formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aphrodite_engine.sampling.steps import STEPS, Rows
from tests.engine.sampling.rows import logit_rows, make_row, softmax64

#: How far float32 probabilities and their running sums may be from float64 ones at a threshold.
EDGE = 2e-6


def apply(name: str, logits: torch.Tensor, rows: Rows) -> torch.Tensor:
    before = logits.clone()
    result = STEPS[name].apply(logits, rows)
    assert torch.equal(logits, before), "a step does not change its input"
    return result


def assert_masked(before: torch.Tensor, after: torch.Tensor, must_keep: np.ndarray, may_keep: np.ndarray) -> None:
    """What is kept keeps its bits, what is not is -inf; the sets may differ only where a threshold is hit exactly."""
    kept = (after != -torch.inf).numpy()
    possible = (before != -torch.inf).numpy()
    assert np.array_equal(kept, (after == before).numpy() & possible)
    assert not (must_keep & possible & ~kept).any()
    assert not (kept & ~may_keep).any()
    assert kept.any(axis=1).all(), "a step keeps at least one token"
    best = before.argmax(dim=1, keepdim=True)
    assert torch.equal(after.gather(1, best), before.gather(1, best)), "the most likely token is always kept"


# ---- penalties


def penalised(logits: np.ndarray, prompt: list[int], output: list[int], r: float, f: float, a: float) -> np.ndarray:
    result = logits.astype(np.float64)
    for token in range(len(result)):
        if token in prompt or token in output:
            result[token] = result[token] / r if result[token] > 0 else result[token] * r
        count = output.count(token)
        if count:
            result[token] -= f * count + a
    return result


@given(
    logit_rows(rows=3, vocab=17),
    st.lists(st.lists(st.integers(0, 16), min_size=1, max_size=12), min_size=3, max_size=3),
    st.lists(st.lists(st.integers(0, 16), max_size=12), min_size=3, max_size=3),
    st.tuples(st.floats(0.1, 10), st.floats(-2, 2), st.floats(-2, 2)),
)
def test_penalties_follow_their_formulas(
    logits: torch.Tensor, prompts: list[list[int]], outputs: list[list[int]], strength: tuple[float, float, float]
) -> None:
    r, f, a = strength
    rows = [
        make_row(vocab=17, prompt=p, output=o, repetition_penalty=r, frequency_penalty=f, presence_penalty=a)
        for p, o in zip(prompts, outputs, strict=True)
    ]
    if not STEPS["penalties"].is_on(rows[0].params):
        return
    after = apply("penalties", logits, rows)
    for line, prompt, output, before in zip(after, prompts, outputs, logits, strict=True):
        expected = penalised(before.numpy(), prompt, output, r, f, a)
        np.testing.assert_allclose(line.numpy(), expected, rtol=1e-5, atol=1e-5)


def test_penalties_leave_the_bits_of_tokens_alone_that_were_not_seen() -> None:
    logits = torch.randn(1, 16)
    after = apply(
        "penalties", logits, [make_row(prompt=[1, 2], output=[3], repetition_penalty=1.7, frequency_penalty=1.1)]
    )
    unseen = [token for token in range(16) if token not in (1, 2, 3)]
    assert torch.equal(after[:, unseen], logits[:, unseen])
    assert not (after[:, [1, 2, 3]] == logits[:, [1, 2, 3]]).any()


def test_frequency_and_presence_penalties_do_not_count_the_prompt() -> None:
    logits = torch.randn(1, 16)
    row = make_row(prompt=[1, 2, 2], output=[3, 3], frequency_penalty=0.5, presence_penalty=0.25)
    change = (logits - apply("penalties", logits, [row]))[0]
    assert change.nonzero().flatten().tolist() == [3]
    assert change[3].item() == pytest.approx(2 * 0.5 + 0.25, abs=1e-6)


def test_penalties_keep_impossible_tokens_impossible() -> None:
    logits = torch.full((1, 4), -torch.inf)
    logits[0, 0] = 1.0
    row = make_row(
        vocab=4, prompt=[1], output=[2], repetition_penalty=0.5, frequency_penalty=-2.0, presence_penalty=-2.0
    )
    assert apply("penalties", logits, [row])[0].tolist() == [1.0, -torch.inf, -torch.inf, -torch.inf]


# ---- temperature


@given(logit_rows(), st.floats(1e-6, 100))
def test_temperature_divides_the_logits(logits: torch.Tensor, value: float) -> None:
    after = apply("temperature", logits, [make_row(temperature=value)] * len(logits))
    expected = logits.double() / torch.tensor(value, dtype=torch.float32).double()
    torch.testing.assert_close(after.double(), expected, rtol=1e-6, atol=0)
    assert not after.isnan().any() and not (after == torch.inf).any()


# ---- truncation


@given(logit_rows(), st.sampled_from([1, 2, 3, 40, 10**9]))
def test_top_k_keeps_the_k_largest_and_what_ties_with_the_last(logits: torch.Tensor, k: int) -> None:
    after = apply("top_k", logits, [make_row(top_k=k)] * len(logits))
    values = logits.numpy()
    kth = -np.sort(-values, axis=1)[:, min(k, values.shape[1]) - 1]
    keep = values >= kth[:, None]
    assert_masked(logits, after, keep, keep)


def test_top_k_sizes_differ_by_row() -> None:
    logits = torch.arange(8.0).expand(3, 8).contiguous()
    rows = [make_row(top_k=k) for k in (1, 3, 100)]
    assert (apply("top_k", logits, rows) > -torch.inf).sum(1).tolist() == [1, 3, 8]


def test_top_k_keeps_all_that_tie_at_the_last_place() -> None:
    logits = torch.tensor([[3.0, 1.0, 1.0, 1.0, 0.0]])
    assert (apply("top_k", logits, [make_row(top_k=2)]) > -torch.inf).tolist() == [[True, True, True, True, False]]


def nucleus(logits: torch.Tensor, mass: float) -> np.ndarray:
    """Sorted by probability, the lower id first among equals: keep while the mass before a token is below `mass`."""
    keep = np.zeros(logits.shape, dtype=bool)
    for row, probabilities in enumerate(softmax64(logits)):
        order = np.argsort(-probabilities, kind="stable")
        before = np.cumsum(probabilities[order]) - probabilities[order]
        keep[row, order[(before < mass) & (probabilities[order] > 0)]] = True
        keep[row, order[0]] = True
    return keep


@given(logit_rows(), st.floats(0.001, 0.999))
def test_top_p_keeps_the_smallest_set_that_reaches_the_mass(logits: torch.Tensor, mass: float) -> None:
    after = apply("top_p", logits, [make_row(top_p=mass)] * len(logits))
    kept = (after > -torch.inf).sum(1).numpy()
    fewest, most = nucleus(logits, mass - EDGE).sum(1), nucleus(logits, mass + EDGE).sum(1)
    # Probabilities below float32's smallest are zero and are dropped; nothing that matters has them.
    assert (kept <= most).all() and (kept >= np.minimum(fewest, (torch.softmax(logits, 1) > 0).sum(1).numpy())).all()
    for before_row, after_row in zip(logits, after, strict=True):
        dropped = before_row[(after_row == -torch.inf) & (before_row > -torch.inf)]
        assert (dropped <= before_row[after_row > -torch.inf].min()).all(), (
            "nothing likelier than a kept token is dropped"
        )
    everything = np.ones(logits.shape, dtype=bool)
    assert_masked(logits, after, ~everything, everything)


@pytest.mark.parametrize("vocab", [2, 1023, 1024, 5000])
def test_top_p_of_nearly_flat_rows(vocab: int) -> None:
    logits = torch.linspace(0, 0.1, vocab).flip(0)[None]
    after = apply("top_p", logits, [make_row(top_p=0.9)])
    expected = nucleus(logits, 0.9)
    assert expected.sum() > 0.85 * vocab
    assert abs(int((after > -torch.inf).sum()) - int(expected.sum())) <= 1


def test_top_p_mixes_peaked_and_flat_rows() -> None:
    narrow, wide = torch.linspace(30, 0, 3000), torch.linspace(0.1, 0, 3000)
    logits = torch.stack([narrow, wide, narrow])
    rows = [make_row(top_p=0.9)] * 3
    together = apply("top_p", logits, rows)
    for place in range(3):
        assert torch.equal(together[place : place + 1], apply("top_p", logits[place : place + 1], rows[:1]))


@pytest.mark.parametrize(("mass", "kept"), [(0.2, 1), (0.25, 1), (0.26, 2), (0.5, 2), (0.75, 3), (0.9, 4)])
def test_top_p_keeps_the_token_that_crosses_and_of_equals_the_lower_ids(mass: float, kept: int) -> None:
    after = apply("top_p", torch.zeros(1, 4), [make_row(top_p=mass)])
    assert (after > -torch.inf).tolist() == [[place < kept for place in range(4)]]


@pytest.mark.parametrize("vocab", [10, 3000])
def test_top_p_breaks_ties_by_id_wherever_they_are(vocab: int) -> None:
    logits = torch.zeros(1, vocab)
    logits[0, vocab // 2] = 1.0
    kept = (apply("top_p", logits, [make_row(top_p=0.6)]) > -torch.inf)[0].nonzero().flatten().tolist()
    assert kept == sorted([*range(len(kept) - 1), vocab // 2]) or kept == list(range(len(kept)))


@given(logit_rows(), st.sampled_from([1e-6, 0.02, 0.1, 0.5, 1.0]))
def test_min_p_drops_what_is_too_unlikely_beside_the_most_likely(logits: torch.Tensor, floor: float) -> None:
    after = apply("min_p", logits, [make_row(min_p=floor)] * len(logits))
    probabilities = softmax64(logits)
    relative = probabilities / probabilities.max(axis=1, keepdims=True)
    assert_masked(logits, after, relative >= floor * (1 + EDGE), relative >= floor * (1 - EDGE))


def test_min_p_of_one_keeps_all_that_tie_with_the_most_likely() -> None:
    after = apply("min_p", torch.tensor([[2.0, 1.9999, 2.0, 0.0]]), [make_row(min_p=1.0)])
    assert (after > -torch.inf).tolist() == [[True, False, True, False]]


@pytest.mark.parametrize("name", ["temperature", "top_k", "top_p", "min_p"])
def test_a_row_with_one_possible_token_keeps_it_through_every_step(name: str) -> None:
    logits = torch.full((2, 3000), -torch.inf)
    logits[0, 7], logits[1, 2999] = -50.0, 80.0
    row = make_row(temperature=0.5, top_k=3, top_p=0.5, min_p=0.5)
    after = apply(name, logits, [row] * 2)
    assert (after > -torch.inf).nonzero().tolist() == [[0, 7], [1, 2999]]
    assert not after.isnan().any()
