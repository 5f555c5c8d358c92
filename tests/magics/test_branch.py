"""`%aphrodite branch`, `compare` and `replay`, and a trace of a generation that was made without one."""

from __future__ import annotations

from pathlib import Path

import pytest
from IPython.core.error import UsageError

from aphrodite.display.generation import Generation
from aphrodite.display.stages import Stages
from aphrodite.display.trace import Trace
from tests.magics.conftest import Cells, tell, value


@pytest.fixture
def story(cells: Cells) -> Generation:
    return tell(cells)


# ---- branch


def test_a_branch_keeps_what_stands_before_it_and_writes_on_with_another_token(cells: Cells, story: Generation) -> None:
    other = story.tokens[4].alternatives[1]
    found = value(cells, f"%aphrodite branch 4 --token {other.token_id}")
    assert isinstance(found, Generation) and found.result.token_ids[:5] == [*story.result.token_ids[:4], other.token_id]
    assert found.finish_reason == "length" and len(found.result.token_ids) == 24, "the given ones count"
    assert story.branches[-1].text == found.text and repr(found).count("▸") == 1
    html = found._repr_mimebundle_()[0]["text/html"]
    assert "aphrodite-kept" in html and "text-decoration:underline" in html


def test_with_the_token_that_stood_there_the_rest_comes_again(cells: Cells, story: Generation) -> None:
    cells(f"%aphrodite branch 10 --token {story.result.token_ids[10]} --of story --into again")
    assert value(cells, "again").result.token_ids == story.result.token_ids


def test_a_token_may_be_given_as_its_text(cells: Cells, story: Generation) -> None:
    text = story.tokens[1].alternatives[1].text
    cells(f'%aphrodite branch 1 --token "{text}" --of story --into told')
    assert value(cells, "told").tokens[1].text == text


def test_another_seed_or_other_fields_change_what_follows_only(cells: Cells, story: Generation) -> None:
    cells("%aphrodite branch 12 --seed 5 -t 0.7 --of story --into warm")
    found = value(cells, "warm")
    assert found.result.token_ids[:12] == story.result.token_ids[:12]
    assert found.result.token_ids != story.result.token_ids and found.seed == 5
    assert found.fork.label == "seed 5, temperature=0.7"


def test_the_last_generation_is_meant_where_none_is_named(cells: Cells) -> None:
    cells("%%aphrodite --seed 3 --max-tokens 6\nOnce upon a time")
    first = value(cells, "%aphrodite branch 2 --seed 9")
    second = value(cells, "%aphrodite branch 4 --seed 10")
    assert second.result.token_ids[:4] == first.result.token_ids[:4]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("branch 99 --of story", "99"),
        ("branch 2 --of story --token ' fox and hound'", "token"),
        ("branch 2 --of cells_of_bees", "cells_of_bees"),
        ("branch two", "two"),
        ("branch 2 --tokn x", "--token"),
        ("compare story 3", "int"),
        ("replay nowhere.json", "no such file"),
        ("replay bees", "bees"),
        ("trace --of story --at 99", "from 0 to 23"),
    ],
)
def test_mistakes_are_one_line(cells: Cells, story: Generation, line: str, said: str) -> None:
    with pytest.raises((UsageError, ValueError), match=said) as caught:
        cells(f"%aphrodite {line}")
    assert "\n" not in str(caught.value)


def test_a_generation_that_has_no_origin_says_so(cells: Cells) -> None:
    from tests.display.made import generation

    with pytest.raises(Exception, match="by hand"):
        generation().branch(1, seed=2)


# ---- the others


def test_a_generation_without_a_trace_is_drawn_again_with_one(cells: Cells, story: Generation) -> None:
    trace = value(cells, "%aphrodite trace --of story")
    assert isinstance(trace, Trace) and trace.stages == ["model", "temperature", "min_p"] and len(trace) == 24
    drawn = [stages[-1].drawn for stages in trace]
    assert drawn == pytest.approx([token.processed_probability for token in story.tokens], abs=1e-6)
    assert not story.branches or story.branches[-1].params.get("trace") is None, "looking is no branching"


def test_a_position_shows_as_small_multiples(cells: Cells, story: Generation) -> None:
    found = value(cells, "%aphrodite trace --of story --at 3")
    assert isinstance(found, Stages) and found.drawn is not None and found.drawn.token_id == story.result.token_ids[3]


def test_compare_says_where_two_part(cells: Cells, story: Generation) -> None:
    cells("%aphrodite branch 6 --seed 1 --of story --into other")
    found, shown = cells("%aphrodite compare story other")
    assert found.first_divergence >= 6 and "first difference" in shown  # type: ignore[attr-defined]


def test_a_recipe_is_replayed_from_a_file_a_variable_or_the_last_one(
    cells: Cells, story: Generation, tmp_path: Path
) -> None:
    file = tmp_path / "story.json"
    story.recipe.save(file)
    cells(f"recipe, path = story.recipe, {str(file)!r}")
    for line in (f"replay {file}", "replay path", "replay recipe", "replay story", "replay"):
        found = value(cells, f"%aphrodite {line}")
        assert found.same, line


def test_a_replay_says_where_it_differs(cells: Cells, story: Generation, tmp_path: Path) -> None:
    file = tmp_path / "story.json"
    story.recipe.save(file)
    text = file.read_text()
    file.write_text(text.replace('"seed": 13', '"seed": 14'))
    found, shown = cells(f"%aphrodite replay {file}")
    assert not found.same and "output 0 differs from token" in shown  # type: ignore[attr-defined]
