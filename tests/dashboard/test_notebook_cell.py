"""A copied cell asks for exactly what was asked at the page: read by the magics' own parser, sent by the magics."""

from __future__ import annotations

import ast
import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from IPython.core.inputtransformer2 import TransformerManager

from aphrodite.client import AsyncClient
from aphrodite.magics import prompt_cell
from aphrodite.magics.asked import asked as asked_in_notebook
from aphrodite.magics.notebook import Notebook
from aphrodite.magics.parser import words_of
from aphrodite.magics.settings import Settings
from aphrodite_apps.dashboard.notebook_cell import Asked, notebook_cell
from tests.dashboard.test_sampler_fields import FIELDS
from tests.service.running import Running

USER = [{"role": "user", "content": "What is 39 + 48?"}]
BRIEF = {"role": "system", "content": "Be brief; say \"yes\" or 'no'."}


def read(cell: str) -> Any:
    """What a notebook makes of the cell, from IPython's own reading of it on."""
    call = ast.parse(TransformerManager().transform_cell(cell)).body[0]
    assert isinstance(call, ast.Expr) and isinstance(call.value, ast.Call)
    name, line, body = (ast.literal_eval(argument) for argument in call.value.args)
    assert name == "aphrodite"
    notebook = Notebook(SimpleNamespace(user_ns={}), Settings(object()))
    # The magic takes away the line end that IPython adds.
    return asked_in_notebook(notebook, prompt_cell.parser().parse(words_of(line)), body.removesuffix("\n"))


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_survives(name: str) -> None:
    asked = {"seed": 7, name: FIELDS[name]}
    found = read(notebook_cell(Asked("demo", "Once upon a time", asked)))
    assert found.fields == asked
    assert (found.model, found.prompt) == ("demo", "Once upon a time")


@pytest.mark.parametrize(
    "prompt",
    [
        "Once upon a time",
        "%%aphrodite\nis text",
        "a\n\n  b",
        "it's {one} {% brace %} {# too #}",
        "$x !ls ?",
        "日本語 \\n",
        "braces: {{x}}",
    ],
)
def test_a_prompt_survives_to_the_letter(prompt: str) -> None:
    assert read(notebook_cell(Asked("demo", prompt))).prompt == prompt


@pytest.mark.parametrize(
    "messages", [USER, [BRIEF, *USER], [{"role": "user", "content": "What is {{1 + 1}}?\n\nSay."}]]
)
def test_a_first_turn_survives(messages: list[dict[str, str]]) -> None:
    assert read(notebook_cell(Asked("acme/demo mini", messages))).prompt == messages


LONGER: list[Any] = [
    [*USER, {"role": "assistant", "content": "87"}, {"role": "user", "content": "Sure?"}],
    [{"role": "system", "content": "Two\nlines"}, *USER],
    "\n ends with a space ",
]


@pytest.mark.parametrize("prompt", LONGER)
def test_what_a_prompt_cell_cannot_say_is_python(prompt: Any) -> None:
    cell = notebook_cell(Asked("demo", prompt, {"seed": 7}))
    assignment = ast.parse(cell).body[1]
    assert isinstance(assignment, ast.Assign)
    assert ast.literal_eval(assignment.value) == prompt


def test_a_python_cell_gives_the_same_tokens(served: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {"seed": 7, "max_tokens": 24, "stop": ["\n\n"], "temperature": 0.8}

    async def at_the_page() -> str:
        async with AsyncClient(served.url) as client:
            return (await client.chat(LONGER[0], model="demo", **fields))[0].text

    monkeypatch.setenv("APHRODITE_RUNTIME_DIR", str(served.home / "run"))
    names: dict[str, Any] = {}
    exec(notebook_cell(Asked("demo", LONGER[0], fields)), names)
    assert names["found"].text == asyncio.run(at_the_page()) != ""


def test_what_was_written_on_from_a_token_is_python_that_says_so() -> None:
    source = notebook_cell(Asked("demo", "Once", {"seed": 7}, given=(5, 9)))
    compile(source, "cell", "exec")
    assert "from aphrodite_engine.prompts import Continuation" in source
    assert "continuation=Continuation((5, 9))," in source
