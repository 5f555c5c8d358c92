"""`%aphrodite next`, `tokens` of a generation, and `trace` of one that is there."""

from __future__ import annotations

import pandas as pd
import pytest
from IPython.core.error import UsageError

from aphrodite.display.generation import Generation
from aphrodite.display.stages import Stages
from aphrodite.display.trace import Trace
from tests.magics.conftest import Cells, tell, value


@pytest.fixture
def story(cells: Cells) -> Generation:
    return tell(cells, "--trace 8")


def test_tokens_have_both_probabilities_and_what_else_there_was(cells: Cells, story: Generation) -> None:
    found = value(cells, "%aphrodite tokens --of story")
    assert isinstance(found, pd.DataFrame) and len(found) == 24
    assert {"token", "raw_probability", "processed_probability", "rank", "entropy_nats", "alternatives"} <= {*found}
    assert (found.raw_probability != found.processed_probability).any() and found.alternatives.str.contains("%").all()


def test_the_last_stage_is_what_a_token_was_drawn_from(cells: Cells, story: Generation) -> None:
    trace = value(cells, "%aphrodite trace --of story")
    assert isinstance(trace, Trace) and trace.stages == ["model", "temperature", "min_p"] and len(trace) == 24
    drawn = [stages[-1].drawn for stages in trace]
    assert drawn == pytest.approx([token.processed_probability for token in story.tokens], abs=1e-6)


def test_a_position_shows_as_small_multiples(cells: Cells, story: Generation) -> None:
    found = value(cells, "%aphrodite trace --at 3")
    assert isinstance(found, Stages) and found.drawn is not None and found.drawn.token_id == story.result.token_ids[3]


def test_next_tells_what_may_come_without_going_on(cells: Cells) -> None:
    found = value(cells, '%aphrodite next "Once upon a time, in a" --top-k 3 --top 5')
    assert isinstance(found, Stages) and [stage.name for stage in found.stages] == ["model", "top_k"]
    assert found.stages[-1].num_possible == 3 and found.drawn is None


def test_into_takes_the_value_and_shows_nothing(cells: Cells, story: Generation) -> None:
    for line in ("tokens --of story", "trace --of story --at 2", "next Once --top 3"):
        assert value(cells, f"%aphrodite {line} --into kept") is None
        assert value(cells, "kept is not None") is True


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("tokens --of bees", "bees"),
        ("tokens 'a b' --of story", "either a text"),
        ("trace --of story --at 99", "from 0 to 23"),
        ("next", "PROMPT"),
    ],
)
def test_mistakes_are_one_line(cells: Cells, story: Generation, line: str, said: str) -> None:
    with pytest.raises((UsageError, ValueError), match=said) as caught:
        cells(f"%aphrodite {line}")
    assert "\n" not in str(caught.value)
