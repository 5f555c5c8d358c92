"""Many prompts or texts at once, from wherever they are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from IPython.core.error import UsageError

from aphrodite.display.generation import Generations
from tests.magics.conftest import Cells

QUESTIONS = ["What is 39 + 48?", "What is 12 + 30?"]


@pytest.mark.parametrize(
    ("value", "expression"),
    [
        (QUESTIONS, "data"),
        (tuple(QUESTIONS), "data"),
        (np.array(QUESTIONS), "data"),
        (pd.Series(QUESTIONS), "data"),
        (pd.DataFrame({"question": QUESTIONS}), "data.question"),
        (pd.DataFrame({"a question": QUESTIONS}), "data['a question']"),
        (pa.table({"question": QUESTIONS}), "data['question']"),
        (pa.array(QUESTIONS), "data"),
        ({"of": QUESTIONS}, "data.of"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_prompts_come_from_lists_and_columns(cells: Cells, value: object, expression: str) -> None:
    cells.shell.user_ns["data"] = value
    answers, shown = cells(f'%aphrodite generate --prompts "{expression}" --chat -t 0')
    assert isinstance(answers, Generations) and answers.texts == ["87", "42"]
    assert shown.startswith("2 prompts, up to 512 tokens\n")
    assert list(answers.df["finish_reason"]) == ["stop", "stop"]
    assert list(answers.df["prompt"]) == QUESTIONS, "what was asked, not what the chat template made of it"


def test_prompts_of_a_line_are_templates_and_those_of_a_variable_are_data(cells: Cells) -> None:
    cells("first, texts = 39, ['{{first}}']")
    both, _ = cells("%aphrodite generate '{{first}}' --prompts texts --max-tokens 2")
    assert [one.result.prompt for one in both] == ["39", "{{first}}"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("value", "expression", "said"),
    [
        ("one text", "data", "a list of texts or a column, not str"),
        (pd.DataFrame({"question": QUESTIONS}), "data", "a table; name one of its columns"),
        (["a", None], "data", "item 1 is None, not a text"),
        ([], "data", "it is empty"),
        ([], "nobody", "'nobody' is undefined"),
        ({"a": []}, "data.b", "no attribute 'b'"),
        (["x", "too long " * 3000], "data", "prompt 2: .*at most 2047 prompt tokens"),
    ],
)
def test_what_is_no_list_of_texts_is_said_in_one_line(cells: Cells, value: object, expression: str, said: str) -> None:
    cells.shell.user_ns["data"] = value
    with pytest.raises(UsageError, match=said) as caught:
        cells(f'%aphrodite generate --prompts "{expression}" --max-tokens 2')
    assert "\n" not in str(caught.value)


def test_texts_become_vectors(cells: Cells) -> None:
    cells("texts = ['a', 'b', 'a']")
    vectors, _ = cells("%aphrodite embed --texts texts")
    assert isinstance(vectors, np.ndarray) and vectors.shape[0] == 3
    assert (vectors[0] == vectors[2]).all()
    cells("%aphrodite embed a -o kept")
    assert (cells("kept")[0] == vectors[0]).all()  # type: ignore[union-attr]
