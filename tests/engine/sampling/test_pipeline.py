"""The sampler as a whole: rows never mix, off is off, and every draw can be replayed."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aphrodite_engine.params import SamplingParams
from aphrodite_engine.sampling.pipeline import Drawn, plan_of, sample
from aphrodite_engine.sampling.row import SamplerRow
from tests.engine.sampling.rows import logit_rows, make_row
from tests.engine.strategies import sampling_params

VOCAB = 300


@st.composite
def sampler_rows(draw: st.DrawFn, count: int, vocab: int = VOCAB) -> list[SamplerRow]:
    """Rows of every kind, in the middle of a sequence."""
    return [draw(sampler_row(vocab)) for _ in range(count)]


@st.composite
def sampler_row(draw: st.DrawFn, vocab: int) -> SamplerRow:
    ids = st.lists(st.integers(0, vocab - 1), max_size=8)
    params = draw(sampling_params(vocab, min_tokens=draw(st.sampled_from([0, 0, 4]))))
    output = draw(ids)
    return make_row(
        params, vocab=vocab, prompt=draw(ids.filter(bool)), output=output, index=draw(st.integers(0, 255)),
        ends=(3, 5), breakers=draw(st.one_of(st.none(), ids)), feedback=draw(remembered(params)),
        bad_words=draw(st.sampled_from([(), ((7,),), ((7,), (*output[-1:], 9), (1, 2, 3))])),
    )  # fmt: skip


def remembered(params: SamplingParams) -> st.SearchStrategy[tuple[float, ...] | None]:
    """What mirostat (its mu) or adaptive_p (sum and weight of its mean) may have learned."""
    memories: dict[str, st.SearchStrategy[tuple[float, ...]]] = {
        "mirostat": st.tuples(st.floats(-50, 50)),
        "adaptive_p": st.tuples(st.floats(0, 5), st.floats(1, 10)),
    }
    learner = plan_of(params).feedback
    return st.one_of(st.none(), memories[learner]) if learner else st.none()


def drawn_one_by_one(logits: torch.Tensor, rows: list[SamplerRow]) -> list[Drawn]:
    return [sample(logits[r : r + 1].clone(), [row])[0] for r, row in enumerate(rows)]


# ---- rows never mix


@given(logit_rows(rows=6, vocab=VOCAB), sampler_rows(6), st.permutations(range(6)), st.integers(1, 5))
@settings(max_examples=80)
def test_a_rows_token_and_logprobs_are_its_own_in_any_company(
    logits: torch.Tensor, rows: list[SamplerRow], order: list[int], cut: int
) -> None:
    alone = drawn_one_by_one(logits, rows)
    assert sample(logits.clone(), rows) == alone
    assert sample(logits[order], [rows[r] for r in order]) == [alone[r] for r in order]
    assert sample(logits[:cut], rows[:cut]) + sample(logits[cut:], rows[cut:]) == alone


@given(logit_rows(rows=2, vocab=3000), sampler_rows(2, vocab=3000))
def test_the_same_holds_where_top_p_may_need_more_candidates(logits: torch.Tensor, rows: list[SamplerRow]) -> None:
    assert sample(logits.clone(), rows) == drawn_one_by_one(logits, rows)


def test_a_large_batch_of_one_kind_gives_each_row_what_it_gets_alone() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(257, 1003, generator=generator)
    rows = [make_row(vocab=1003, seed=seed, top_p=0.8, temperature=0.7, logprobs=5) for seed in range(257)]
    together = sample(logits.clone(), rows)
    for place in (0, 1, 100, 255, 256):
        assert sample(logits[place : place + 1], rows[place : place + 1]) == [together[place]]


# ---- off is off


@given(logit_rows(vocab=VOCAB), st.integers(0, 2**63 - 1))
def test_neutral_parameters_leave_every_bit_of_the_distribution(logits: torch.Tensor, seed: int) -> None:
    raw = make_row(vocab=VOCAB, seed=seed, logprobs=20, logprobs_mode="raw")
    neutral = make_row(
        vocab=VOCAB, seed=seed, logprobs=20, logprobs_mode="processed", output=[1, 2], position=1, top_k=-1, top_p=1.0,
        min_p=0.0, repetition_penalty=1.0, frequency_penalty=0.0, presence_penalty=0.0, logit_bias={}, temperature=1.0,
    )  # fmt: skip
    assert plan_of(neutral.params).steps == ()
    assert sample(logits.clone(), [raw] * len(logits)) == sample(logits.clone(), [neutral] * len(logits))


@pytest.mark.parametrize("active", [{"top_k": 3}, {"min_p": 0.3}, {"repetition_penalty": 2.0}, {"temperature": 0.2}])
def test_a_row_stays_untouched_beside_rows_whose_steps_are_on(active: dict[str, float]) -> None:
    logits = torch.randn(3, VOCAB, generator=torch.Generator().manual_seed(3))
    plain = make_row(vocab=VOCAB, logprobs=20, logprobs_mode="processed", seed=9)
    busy = make_row(SamplingParams.from_fields(active), vocab=VOCAB)
    assert sample(logits.clone(), [busy, plain, busy])[1] == sample(logits[1:2].clone(), [plain])[0]


def test_greedy_takes_the_largest_logit_and_of_equals_the_lowest_id() -> None:
    logits = torch.tensor([[0.0, 5.0, 5.0, 1.0], [7.0, 7.0, 7.0, 7.0], [-torch.inf, -3.0, -torch.inf, -3.0]])
    rows = [make_row(vocab=4, temperature=0, seed=seed, top_p=0.1, min_p=0.9, top_k=1) for seed in range(3)]
    assert [drawn.token_id for drawn in sample(logits, rows)] == [1, 0, 1]


def test_greedy_still_applies_penalties_bias_and_bans() -> None:
    logits = torch.tensor([[1.0, 5.0, 4.0, 0.0]] * 3)
    rows = [
        make_row(vocab=4, temperature=0, output=[1], frequency_penalty=1.5),
        make_row(vocab=4, temperature=0, logit_bias={3: 5.5}),
        make_row(vocab=4, temperature=0, min_tokens=2, output=[1], ends=(1, 2)),
    ]
    assert [drawn.token_id for drawn in sample(logits, rows)] == [2, 3, 0]


@given(logit_rows(rows=1, vocab=VOCAB), sampler_rows(1))
@settings(max_examples=80)
def test_whatever_the_order_of_steps_something_possible_is_drawn(logits: torch.Tensor, rows: list[SamplerRow]) -> None:
    (drawn,) = sample(logits.clone(), rows)
    allowed = rows[0].params.allowed_token_ids
    possible = (logits[0] > -torch.inf).nonzero().flatten().tolist()
    output = [*rows[0].token_ids][len(rows[0].token_ids) - rows[0].num_output :]
    banned = {word[-1] for word in rows[0].bad_words if output[max(0, len(output) + 1 - len(word)) :] == [*word[:-1]]}
    banned |= set(rows[0].banned_until_min if rows[0].num_output < rows[0].params.min_tokens else ())
    left = [token for token in possible if (allowed is None or token in allowed) and token not in banned]
    assert drawn.token_id in left or (not left and drawn.token_id == -1)


def test_the_order_of_steps_is_the_requests() -> None:
    logits = torch.tensor([[3.0, 2.0, 1.0, 0.0]] * 2)
    common = {"temperature": 0.1, "min_p": 0.2, "vocab": 4, "logprobs": 4, "logprobs_mode": "processed"}
    first, last = sample(logits, [make_row(**common), make_row(**common, temperature_last=True)])
    assert first.logprobs is not None and last.logprobs is not None
    assert len(first.logprobs.top) == 1, "behind temperature 0.1 only the largest is within a fifth"
    assert len(last.logprobs.top) == 2, "before it, exp(-1) is too"


def test_a_row_of_which_nothing_is_left_draws_nothing_and_its_neighbours_draw() -> None:
    logits = torch.zeros(3, 4)
    logits[1] = torch.nan
    rows = [make_row(vocab=4, logprobs=2, logprobs_mode=mode, top_p=0.9) for mode in ("raw", "processed", "raw")]
    drawn = sample(logits, rows)
    assert (drawn[1].token_id, drawn[1].logprobs) == (-1, None)
    assert drawn[0].token_id >= 0 and drawn[2].token_id >= 0


# ---- draws


def chi_square(counts: torch.Tensor, probabilities: torch.Tensor) -> float:
    expected = probabilities.double() * counts.sum()
    return float(((counts - expected) ** 2 / expected).sum())


DISTRIBUTION = torch.tensor([2.0, 1.5, 1.0, 0.5, 0.0, -0.5, -1.0, -2.0])
DRAWS = 8000
#: Of chi-square with 7 degrees of freedom, exceeded once in ten thousand.
LIMIT = 29.9


@pytest.mark.parametrize("vary", ["seed", "position", "index"])
def test_draws_follow_the_softmax_whatever_part_of_the_key_counts_on(vary: str) -> None:
    key = {"seed": 17, "position": 5, "index": 0}
    rows = [make_row(SamplingParams(seed=(key | {vary: i})["seed"]), position=(key | {vary: i})["position"],
                     index=(key | {vary: i})["index"]) for i in range(DRAWS)]  # fmt: skip
    tokens = torch.tensor([drawn.token_id for drawn in sample(DISTRIBUTION.repeat(DRAWS, 1), rows)])
    counts = torch.bincount(tokens, minlength=8)
    assert chi_square(counts, DISTRIBUTION.softmax(0)) < LIMIT


def test_neighbouring_draws_are_independent_of_each_other() -> None:
    rows = [make_row(seed=i // 2, position=5 + i % 2) for i in range(2 * DRAWS)]
    tokens = torch.tensor([drawn.token_id for drawn in sample(torch.zeros(2 * DRAWS, 4), rows)]).view(-1, 2)
    counts = torch.bincount(tokens[:, 0] * 4 + tokens[:, 1], minlength=16)
    assert chi_square(counts, torch.full((16,), 1 / 16)) < 44.3  # 15 degrees of freedom, one in ten thousand


def test_draws_follow_the_truncated_distribution() -> None:
    rows = [make_row(seed=i, top_k=3, temperature=0.5) for i in range(DRAWS)]
    tokens = torch.tensor([drawn.token_id for drawn in sample(DISTRIBUTION.repeat(DRAWS, 1), rows)])
    counts = torch.bincount(tokens, minlength=8)
    assert counts[3:].sum() == 0
    assert chi_square(counts[:3], (DISTRIBUTION[:3] / 0.5).softmax(0)) < 18.4  # 2 degrees of freedom


def test_truncation_does_not_change_the_noise_so_a_kept_token_keeps_winning() -> None:
    logits = torch.randn(200, VOCAB, generator=torch.Generator().manual_seed(5))
    free = sample(logits.clone(), [make_row(vocab=VOCAB, seed=i) for i in range(200)])
    cut = sample(logits.clone(), [make_row(vocab=VOCAB, seed=i, top_k=100) for i in range(200)])
    kept = [bool((logits[i] > logits[i, free[i].token_id]).sum() < 100) for i in range(200)]
    assert all(cut[i].token_id == free[i].token_id for i in range(200) if kept[i])


def test_an_impossible_token_is_never_drawn() -> None:
    logits = torch.zeros(2000, 4)
    logits[:, 2] = -torch.inf
    drawn = sample(logits, [make_row(vocab=4, seed=i) for i in range(2000)])
    assert {d.token_id for d in drawn} == {0, 1, 3}
