"""Braces, unicode, quotes and long texts arrive at the model as they were typed."""

from __future__ import annotations

import json

import pytest
from IPython.core.error import UsageError

from tests.magics.conftest import Cells

ODD = 'Ünïcode ✓ 日本語 🎉 {"a": [1, {"b": 2}]} {% if %} {# no #} %d $HOME `tick` "q" \\n \'x\' }} { tail'


@pytest.mark.parametrize("flags", ["", "--raw"])
def test_a_cell_is_the_prompt_to_the_letter(cells: Cells, flags: str) -> None:
    body = f"first line\n\n{ODD}\n    indented\tand tabbed  "
    cells(f"%%aphrodite --max-tokens 1 --into kept {flags}\n{body}")
    assert cells("kept.result.prompt")[0] == body


def test_raw_keeps_double_braces(cells: Cells) -> None:
    cells("%%aphrodite --raw --max-tokens 1 --into kept\n{{nobody}} }}")
    assert cells("kept.result.prompt")[0] == "{{nobody}} }}"


def test_a_text_of_100_kb_is_read_whole_and_refused_in_one_line_where_it_does_not_fit(cells: Cells) -> None:
    text = (ODD + "\n") * (100_000 // len(ODD) + 1)
    cells.shell.user_ns["text"] = text
    cells("tokens = %aphrodite tokens '{{text}}'")
    cells("import aphrodite\nwhole = aphrodite.connect().detokenize(list(tokens.token_id), skip_special_tokens=True)")
    assert cells("whole")[0] == text
    for cell in (f"%%aphrodite --raw\n{text}", "%%aphrodite\n{{text}}", "%aphrodite generate '{{text}}'"):
        with pytest.raises(UsageError, match="at most 2047 prompt tokens fit") as caught:
            cells(cell)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_a_schema_makes_json(cells: Cells) -> None:
    properties = {"mood": {"enum": ["good", "bad"]}}
    schema = {"type": "object", "properties": properties, "required": ["mood"], "additionalProperties": False}
    cells(f"schema = {schema}")
    cells("%%aphrodite --chat --schema schema -t 0 --into kept\nHow are you?")
    assert json.loads(str(cells("kept.text")[0]))["mood"] in ("good", "bad")
    cells(
        "import pydantic, typing\n"
        "class Mood(pydantic.BaseModel):\n"
        "    model_config = pydantic.ConfigDict(extra='forbid')\n"
        "    mood: typing.Literal['good', 'bad']"
    )
    cells("%%aphrodite --chat --schema Mood -t 0 --into kept\nHow are you?")
    assert json.loads(str(cells("kept.text")[0]))["mood"] in ("good", "bad")


@pytest.mark.parametrize(("value", "said"), [("7", "not int"), ("'x'", "not str"), ("{1: object()}", "not dict")])
def test_what_is_no_schema_is_said(cells: Cells, value: str, said: str) -> None:
    cells(f"schema = {value}")
    with pytest.raises(UsageError, match=said):
        cells("%%aphrodite --schema schema\nx")


def test_the_system_message_and_n_are_heard(cells: Cells) -> None:
    cells("%%aphrodite --system 'Be brief.' -n 3 --max-tokens 5 -s 1 --into kept\nHello!")
    assert "Be brief." in str(cells("kept.result.prompt")[0]) and len(cells("kept.texts")[0]) == 3  # type: ignore[arg-type]
    assert cells("kept.usage.prompt_tokens == len(kept.result.prompt_token_ids) > 5")[0]
