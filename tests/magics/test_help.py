"""Help appears where it is asked for, and nothing else happens."""

from __future__ import annotations

import pytest

from aphrodite.magics import commands
from aphrodite_engine.params import SamplingParams
from tests.magics.conftest import Cells


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("%aphrodite?", "%aphrodite generate"),
        ("%aphrodite", "%aphrodite generate"),
        ("%aphrodite --help", "%aphrodite generate"),
        ("%aphrodite generate?", "usage: %aphrodite generate"),
        ("%aphrodite generate ?", "usage: %aphrodite generate"),
        ("%aphrodite generate --help", "usage: %aphrodite generate"),
        ("%aphrodite help generate", "usage: %aphrodite generate"),
        ("%%aphrodite?", "usage: %%aphrodite"),
        ("%%aphrodite --help", "usage: %%aphrodite"),
        ("%%aphrodite --help\nx", "usage: %%aphrodite"),
    ],
)
def test_help_prints_and_returns(cells: Cells, cell: str, shown: str) -> None:
    value, text = cells(cell)
    assert value is None and shown in text


@pytest.mark.parametrize("name", commands.names())
def test_every_sub_command_explains_its_flags(cells: Cells, name: str) -> None:
    assert f"usage: %aphrodite {name} " in cells(f"%aphrodite {name}?")[1]


def test_a_prompt_cell_has_a_flag_for_every_sampling_field(cells: Cells) -> None:
    text = cells("%%aphrodite --help\nx")[1]
    for name in SamplingParams.field_names():
        assert "-n N" in text if name == "n" else "--" + name.replace("_", "-") in text


def test_a_question_is_no_question_for_help(cells: Cells) -> None:
    answer, _ = cells('x = 1\n%aphrodite generate "What is it?" --max-tokens 2')
    assert answer.result.prompt == "What is it?"  # type: ignore[attr-defined]
