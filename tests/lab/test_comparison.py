"""Two generations, aligned: where they part, and what each held of the other's token."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import aphrodite
from aphrodite.display.generation import Generation
from aphrodite.lab import Comparison, compare
from aphrodite.local import LocalSession
from aphrodite_engine.errors import ParameterError
from aphrodite_engine.outputs import GenerationResult
from tests.browser.chromium import look

START = "Once upon a time"


def told(demo: LocalSession, seed: int, **fields: Any) -> GenerationResult:
    asked: dict[str, Any] = {"max_tokens": 30, "logprobs": 3, "ignore_eos": True} | fields
    return demo.generate(START, seed=seed, **asked)[0]


def probability(demo: LocalSession, before: list[int], token_id: int) -> float:
    """By another way than compare's: read as a prompt."""
    (result,) = demo.generate([[*before, token_id]], prompt_logprobs=0, max_tokens=1)
    position = (result.prompt_logprobs or [])[-1]
    assert position is not None
    return math.exp(position[token_id].logprob)


@pytest.fixture(scope="module")
def pair(demo: LocalSession) -> tuple[GenerationResult, GenerationResult]:
    return told(demo, 5), told(demo, 8)


def test_the_rows_hold_both_sequences_in_order(pair: tuple[GenerationResult, GenerationResult]) -> None:
    a, b = pair
    found = compare(a, b)
    assert [row.token_id_a for row in found.rows if row.token_id_a is not None] == a.token_ids
    assert [row.token_id_b for row in found.rows if row.token_id_b is not None] == b.token_ids
    assert [row.position_a for row in found.rows if row.position_a is not None] == list(range(30))
    assert "".join(row.token_a or "" for row in found.rows) == a.text
    for row in found.rows:
        assert (row.op == "equal") == (row.token_id_a == row.token_id_b)
        assert (row.op == "insert") == (row.position_a is None) and (row.op == "delete") == (row.position_b is None)


def test_the_first_divergence_is_the_first_position_that_differs(
    pair: tuple[GenerationResult, GenerationResult],
) -> None:
    a, b = pair
    at = compare(a, b).first_divergence
    assert at is not None and a.token_ids[:at] == b.token_ids[:at] and a.token_ids[at] != b.token_ids[at]
    same = compare(a, a)
    assert same.same and same.first_divergence is None and repr(same) == "the same 30 tokens"


def test_probabilities_are_the_models_own(pair: tuple[GenerationResult, GenerationResult]) -> None:
    a, b = pair
    found = compare(a, b)
    assert [row.probability_a for row in found.rows if row.position_a is not None] == [
        token.raw_probability for token in a.tokens
    ]
    assert [row.probability_b for row in found.rows if row.position_b is not None] == [
        token.raw_probability for token in b.tokens
    ]


@pytest.mark.parametrize(
    "fields", [{"logprobs": None}, {"logprobs": 0}, {"logprobs": 20}, {"logprobs": 0, "trace": 20}]
)
def test_each_held_something_of_the_others_token_up_to_the_divergence(
    demo: LocalSession, fields: dict[str, Any]
) -> None:
    a, b = told(demo, 5, **fields), told(demo, 8, **fields)
    found = compare(a, b, session=demo)
    at = found.first_divergence or 0
    before = [*a.prompt_token_ids, *a.token_ids[:at]]
    (row_a,) = [row for row in found.rows if row.position_a == at]
    (row_b,) = [row for row in found.rows if row.position_b == at]
    assert row_a.probability_a_of_b == pytest.approx(probability(demo, before, b.token_ids[at]), rel=1e-5)
    assert row_b.probability_b_of_a == pytest.approx(probability(demo, before, a.token_ids[at]), rel=1e-5)
    shared = [row for row in found.rows if row.position_a is not None and row.position_a < at]
    assert shared and all(row.probability_a_of_b == row.probability_a is not None for row in shared)
    later = [row for row in found.rows if (row.position_a or 0) > at]
    assert later and all(row.probability_a_of_b is None for row in later)


def test_what_was_processed_is_not_taken_for_the_models_own(demo: LocalSession) -> None:
    fields: dict[str, Any] = {"logprobs": 20, "logprobs_mode": "processed", "temperature": 3.0}
    a, b = told(demo, 5, **fields), told(demo, 8, **fields)
    found = compare(a, b)
    at = found.first_divergence or 0
    (row,) = [row for row in found.rows if row.position_a == at]
    before = [*a.prompt_token_ids, *a.token_ids[:at]]
    assert row.probability_a_of_b == pytest.approx(probability(demo, before, b.token_ids[at]), rel=1e-5)


def test_who_made_a_result_is_asked_where_no_session_is_named(demo: LocalSession) -> None:
    a, b = told(demo, 5, logprobs=None), told(demo, 8, logprobs=None)
    assert compare(a, b) == compare(a, b, session=demo)
    assert compare(a, b).rows[0].token_a == " there"


def test_where_nobody_can_be_asked_what_was_not_reported_stays_unknown(demo: LocalSession) -> None:
    a, b = (replace(told(demo, seed, logprobs=None), origin=None) for seed in (5, 8))
    found = compare(a, b)
    assert all(row.probability_a is None and row.probability_a_of_b is None for row in found.rows)
    assert found.rows[0].token_a == f"#{a.token_ids[0]}"


def test_of_a_steered_result_nobody_is_asked(demo: LocalSession) -> None:
    """A session would tell of the model as it is, and the tokens were drawn from another."""
    with demo.steer(2, np.full(demo.facts.hidden_size, 0.05, np.float32), 1.0):
        a, b = told(demo, 5, logprobs=0), told(demo, 8, logprobs=0)
    found = compare(a, b, session=demo)
    (row,) = [row for row in found.rows if row.position_a == found.first_divergence]
    assert row.probability_a == a.tokens[row.position_a or 0].raw_probability
    assert row.probability_a_of_b is None


def test_behind_different_prompts_no_context_is_equal(demo: LocalSession) -> None:
    a = told(demo, 5)
    (b,) = demo.generate("Once upon a day", seed=5, max_tokens=5, logprobs=3)
    found = compare(a, b, session=demo)
    assert not found.same_prompt and all(row.probability_a_of_b is None for row in found.rows)


def test_one_that_ends_earlier_parts_where_it_ends(demo: LocalSession) -> None:
    a, b = told(demo, 5), told(demo, 5, max_tokens=4)
    found = compare(a, b)
    assert found.first_divergence == 4 and "b has ended" in found.summary
    assert [row.op for row in found.rows] == ["equal"] * 4 + ["delete"] * 26


def test_two_sequences_of_one_result(demo: LocalSession) -> None:
    both = told(demo, 5, n=2)
    found = compare(both, Generation(both, "demo", {}), index=(0, 1))
    assert [row.token_id_b for row in found.rows if row.token_id_b is not None] == both.outputs[1].token_ids


def test_what_is_wrong_is_named(demo: LocalSession, pair: tuple[GenerationResult, GenerationResult]) -> None:
    with pytest.raises(ParameterError, match="index=1 is not allowed: 0 to 0"):
        compare(*pair, index=(0, 1))
    with pytest.raises(ParameterError, match="a='text'"):
        compare("text", pair[1])  # type: ignore[arg-type]


def test_the_frame_has_whole_numbers_for_positions(pair: tuple[GenerationResult, GenerationResult]) -> None:
    df = compare(*pair).df
    assert str(df.position_a.dtype) == str(df.token_id_b.dtype) == "Int64"
    assert df[df.op == "equal"].token_a.tolist() == df[df.op == "equal"].token_b.tolist()
    assert compare(pair[0], pair[0]).df.op.eq("equal").all()


def test_the_figure_has_two_strips_of_the_same_columns(pair: tuple[GenerationResult, GenerationResult]) -> None:
    found = compare(*pair)
    cells: Any = next(iter(found.figure().data))
    shown = [text for line in cells.text[0::3] for text in line][: len(found.rows)]
    assert [text.startswith("≠") for text in shown] == [row.op in ("replace", "delete") for row in found.rows]
    shares = [value for line in cells.z[0::3] for value in line][: len(found.rows)]
    assert shares == [row.probability_a for row in found.rows]


def test_a_difference_is_seen_without_colours(pair: tuple[GenerationResult, GenerationResult]) -> None:
    found = compare(*pair)
    html = found._repr_html_()
    assert html.count("≠") == sum(row.op == "replace" for row in found.rows) > 0
    assert html.count("<del") == html.count("<ins") == sum(row.op != "equal" for row in found.rows)
    assert found.summary in html.replace("&#x27;", "'") and "rgb" not in html
    assert len(repr(found).splitlines()) == 1 + sum(row.op != "equal" for row in found.rows)


def test_it_is_at_hand_and_costs_nothing_before() -> None:
    assert aphrodite.compare is compare and aphrodite.Comparison is Comparison


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["page", "dark_page"])
def test_it_looks_like_this(
    request: pytest.FixtureRequest, pair: tuple[GenerationResult, GenerationResult], scheme: str
) -> None:
    page = request.getfixturevalue(scheme)
    style = "<style>:root{color-scheme:light dark} body{font-family:sans-serif}</style>"
    page.set_content(style + compare(*pair)._repr_html_())
    tops = page.evaluate("[...document.querySelectorAll('del')].map(e => e.getBoundingClientRect().top)")
    under = page.evaluate("[...document.querySelectorAll('ins')].map(e => e.getBoundingClientRect().top)")
    assert len(tops) > 5 and all(a < b for a, b in zip(tops, under, strict=True))
    look(page, f"comparison-{scheme}")
