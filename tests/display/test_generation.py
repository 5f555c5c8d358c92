"""A generation as objects, tables and text."""

from __future__ import annotations

import math
from typing import Any

import pytest

from aphrodite.display.generation import Generation, Generations
from aphrodite.display.live_text import LiveText
from aphrodite.display.token_html import sequence
from aphrodite_engine.outputs import CompletionOutput, GenerationResult
from tests.display.made import STORY, branch, generation, output


def test_a_token_knows_its_probability_rank_entropy_and_alternatives() -> None:
    token = generation().tokens[2]
    assert (token.text, token.rank, token.entropy) == (" a", 2, 2.0)
    assert token.probability == pytest.approx(0.25)
    assert [(a.text, a.rank) for a in token.alternatives] == [(" else", 1), (" a", 2)]
    assert sum(a.probability for a in token.alternatives) == pytest.approx(1)


def test_without_logprobs_a_token_is_its_id() -> None:
    (token,) = CompletionOutput(0, 7, "a", [5]).tokens
    assert (token.token_id, token.probability, token.entropy, token.alternatives) == (5, None, None, ())


def test_tokens_df_has_one_row_a_token_of_every_sequence() -> None:
    table = generation(output(), output(STORY[:2], index=1)).tokens_df
    assert list(table.columns) == [
        "index", "position", "token_id", "token", "logprob", "probability", "raw_probability", "processed_probability",
        "rank", "entropy_nats",
    ]  # fmt: skip
    assert list(table["index"]) == [0, 0, 0, 0, 1, 1] and list(table["position"]) == [0, 1, 2, 3, 0, 1]
    assert list(table["entropy_nats"])[:4] == [entropy for _, _, entropy in STORY]
    assert table["probability"].map(math.log).tolist() == pytest.approx(table["logprob"].tolist())


def test_df_has_one_row_a_sequence() -> None:
    table = generation(output(), output(index=1)).df
    assert len(table) == 2 and {"model", "prompt", "seed", "text", "ttft_ms", "output_tok_s"} <= set(table.columns)


def test_a_list_s_tables_say_which_generation_a_row_is_of() -> None:
    found = Generations([generation(), generation(output(), output(index=1))])
    assert list(found.df["generation"]) == [0, 1, 1]
    assert list(found.tokens_df["generation"]) == [0] * 4 + [1] * 8
    assert isinstance(found[:1], Generations) and found[1].texts == ["Once upon a fox"] * 2


def test_plain_text_numbers_sequences_where_there_are_several() -> None:
    assert repr(generation()) == "Once upon a fox"
    assert repr(generation(output(), output(index=1))) == "[0] Once upon a fox\n\n[1] Once upon a fox"


def test_a_shade_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="one of probability, entropy, none"):
        generation().shaded("colour")


def test_times_are_metadata_and_in_no_text() -> None:
    bundle, metadata = generation()._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html", "text/markdown"}
    assert metadata == {"aphrodite": {"ttft_ms": 2, "total_ms": 30, "seed": 7}}
    slower = generation()
    slower.result.timing = None
    assert slower._repr_mimebundle_()[0] == bundle


@pytest.mark.parametrize("texts", [(), ("",), ("", "")])
def test_nothing_yet_can_be_shown(texts: tuple[str, ...]) -> None:
    outputs = [CompletionOutput(index, 7, text) for index, text in enumerate(texts)] or [CompletionOutput(0, 7)]
    bundle: dict[str, Any] = Generation(GenerationResult("a", None, [], outputs), "demo", {})._repr_mimebundle_()[0]
    assert "0 tokens" in bundle["text/html"]


# ---- branches


def test_a_branch_shows_what_it_kept_apart_from_what_is_its_own() -> None:
    found = branch(generation(), 3, [(" sat", 0.3, 1.2)])
    bundle, _ = found._repr_mimebundle_()
    assert found.text == "Once upon a cat sat" and repr(found) == "Once upon a▸ cat sat"
    assert bundle["text/markdown"] == "> Once upon a▸ cat sat"
    html = bundle["text/html"]
    assert 'title="kept">Once upon a</span>' in html and '<b title="given, not drawn"> cat</b>' in html
    assert "text-decoration:underline dotted" in html, "not by colour alone"


def test_a_branch_without_logprobs_shows_its_fork_too() -> None:
    plain = CompletionOutput(0, 7, "Once upon a time", [1, 2, 3], None, "stop", given=("Once", " upon"))
    html = sequence(plain, "probability")
    assert ">Once upon</span>" in html and html.endswith(" a time</div>")


def test_while_a_branch_grows_its_given_tokens_have_no_shade() -> None:
    found = branch(generation(), 2, [(" sat", 0.3, 1.2)]).result.outputs[0]
    html = LiveText("probability").html(found)
    assert html.count("<span") == 1 and "> sat</span>" in html and "Once upon cat" in html


def test_a_shaded_branch_keeps_its_fork_and_its_branches() -> None:
    whole = generation()
    found = branch(whole, 3, [(" sat", 0.3, 1.2)])
    assert found.shaded("entropy").fork == found.fork and whole.shaded("none").branches == [found]


def test_a_table_of_tokens_has_the_given_ones_without_figures() -> None:
    df = branch(generation(), 3, [(" sat", 0.3, 1.2)]).tokens_df
    assert list(df.token) == ["Once", " upon", " a", " cat", " sat"]
    assert df.probability.isna().tolist() == [True, True, True, True, False]
