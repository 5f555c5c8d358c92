"""`%aphrodite trace` and `Generation.trace`: what every stage of sampling did."""

from __future__ import annotations

import pytest

from aphrodite.display.trace import Trace
from tests.magics.conftest import Cells

FLAGS = "--seed 3 --max-tokens 8 --temperature 0.8 --top-k 40 --xtc-probability 0.5"


def traced(cells: Cells) -> Trace:
    found, _ = cells(f'trace = %aphrodite trace "Once upon a time" {FLAGS}\ntrace')
    assert isinstance(found, Trace)
    return found


def test_each_token_has_its_stages_in_the_order_they_ran(cells: Cells) -> None:
    found = traced(cells)
    assert len(found) == 8
    assert found.stages == ["model", "temperature", "top_k", "xtc"]
    assert all([stage.name for stage in position] == found.stages for position in found)


def test_the_tables_say_what_was_removed_and_what_led(cells: Cells) -> None:
    found = traced(cells)
    df = found.df
    assert list(df.columns) == ["position", "token_id", "stage", "num_possible", "removed", "probability", "coin"]
    assert len(df) == 8 * 4
    top_k = df[df.stage == "top_k"]
    assert (top_k.num_possible <= 41).all() and (top_k.removed > 4000).all()
    assert df[df.stage == "xtc"].coin.between(0, 1).all() and df[df.stage == "model"].coin.isna().all()
    best = found.candidates_df
    assert set(best["rank"]) == set(range(1, 9))
    assert (best[(best.stage == "model") & (best["rank"] == 1)].probability > 0).all()


def test_it_shows_as_a_table_with_safe_text(cells: Cells) -> None:
    html = traced(cells)._repr_html_()
    assert html.count("<tr>") == 9 and "coin 0." in html and "possible" in html and ">#" not in html


def test_a_prompt_cell_with_trace_has_one_too(cells: Cells) -> None:
    found, _ = cells("%%aphrodite --trace 2 --seed 3 --max-tokens 4 --into story\nOnce upon a time") and cells(
        "story.trace"
    )
    assert isinstance(found, Trace) and found.stages == ["model"]


def test_without_trace_it_says_how_to_ask(cells: Cells) -> None:
    cells("%%aphrodite --seed 3 --max-tokens 4 --into story\nOnce upon a time")
    with pytest.raises(ValueError, match="trace=5"):
        cells("story.trace")
