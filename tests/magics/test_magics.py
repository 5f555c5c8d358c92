"""Cells as a person types them, in a real IPython against a real service."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from IPython.core.error import UsageError

from aphrodite.display.generation import Generation
from tests.magics.conftest import Cells


def test_a_prompt_cell_answers_below_itself(cells: Cells) -> None:
    _, shown = cells("%%aphrodite --chat --temperature 0 --into answer\nWhat is 39 + 48?")
    assert shown.strip().endswith("87")
    assert cells("answer.text")[0] == "87"
    assert cells("answer.finish_reason")[0] == "stop"


def test_names_in_double_braces_are_filled_and_single_braces_are_text(cells: Cells) -> None:
    cells("first = 39")
    cells("%%aphrodite --chat --temperature 0 --into answer\nWhat is {{first}} + 48?")
    assert cells("answer.text")[0] == "87"
    value, _ = cells("""%aphrodite generate 'Repeat: {"a": 1}' --max-tokens 4 --seed 1""")
    assert isinstance(value, Generation) and value.result.prompt == 'Repeat: {"a": 1}'


def test_the_same_seed_gives_the_same_tokens(cells: Cells) -> None:
    line = "%aphrodite generate 'Once upon a time' --seed 7 --max-tokens 24"
    assert cells(line)[0].result.token_ids == cells(line)[0].result.token_ids  # type: ignore[attr-defined]


def test_a_conversation_is_remembered_by_name(cells: Cells) -> None:
    cells('%aphrodite chat "Hello!" --chat party --temperature 0')
    cells('%aphrodite chat "What is 12 + 30?" --chat party --temperature 0')
    _, shown = cells("%aphrodite chat --chat party")
    assert shown.count("user:") == 2 and shown.count("assistant:") == 2
    cells("%aphrodite chat --chat party --forget")
    assert "nothing was said yet" in cells("%aphrodite chat --chat party")[1]


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("%aphrodite sttus", "did you mean status"),
        ("%%aphrodite --temprature 0\nx", "did you mean --temperature"),
        ("%%aphrodite\n  \n", "empty"),
        ("%%aphrodite\n{{nobody_knows_this}}", "nobody_knows_this"),
        ("%aphrodite generate x --top-p 7", "top_p=7.0"),
        ("%aphrodite generate x -m nobody", "nobody"),
        ("%%aphrodite --preset no_such\nx", "no_such"),
        ("%aphrodite generate 'x", "quotation"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(cells: Cells, cell: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        cells(cell)
    assert "\n" not in str(caught.value)


def test_help_prints_and_returns(cells: Cells) -> None:
    assert "--top-p" in cells("%%aphrodite --help\nx")[1]
    assert "%aphrodite up" in cells("%aphrodite help")[1]


def test_a_generation_shows_its_tokens_and_keeps_times_out_of_the_text(cells: Cells) -> None:
    value, _ = cells("%aphrodite generate 'Once upon <b>a</b>' --seed 3 --max-tokens 12")
    assert isinstance(value, Generation)
    bundle, metadata = value._repr_mimebundle_()
    assert bundle["text/plain"] == value.text
    assert bundle["text/html"].count('title="') == 12
    assert metadata["aphrodite"]["total_ms"] > 0 and "total_ms" not in json.dumps(bundle)
    assert list(value.df.columns[:2]) == ["model", "prompt"] and len(value.df) == 1
    assert all(0 < token.probability <= 1 for token in value.tokens if token.probability is not None)


def test_presets_are_kept_as_what_differs_from_neutral(cells: Cells) -> None:
    cells("%aphrodite presets save mine --temperature 0.5 --top-p 1")
    table, _ = cells("%aphrodite presets")
    assert table.df.loc["mine"].iloc[0] == {"temperature": 0.5}  # type: ignore[attr-defined]
    value, _ = cells("%aphrodite generate x --preset mine --max-tokens 2")
    assert value.params == {"temperature": 0.5, "max_tokens": 2}  # type: ignore[attr-defined]


def test_settings_name_their_source(cells: Cells, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APHRODITE_DISPLAY", "plain")
    table, _ = cells("%aphrodite config")
    assert table.df.loc["display", "source"] == "environment, APHRODITE_DISPLAY"  # type: ignore[attr-defined]
    assert cells("%%aphrodite --chat --temperature 0\nWhat is 39 + 48?")[1].strip() == "87"


def test_loading_the_extension_is_light() -> None:
    code = (
        "import sys; from IPython.core.interactiveshell import InteractiveShell as S; s = S.instance(); "
        "s.run_line_magic('load_ext', 'aphrodite'); s.run_line_magic('load_ext', 'aphrodite'); "
        "print([m for m in ('torch', 'transformers', 'pandas', 'gradio', 'httpx2', 'jinja2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_connect_without_an_address_finds_this_machine_s_service(cells: Cells) -> None:
    _, shown = cells("%aphrodite connect")
    assert "demo" in shown and "127.0.0.1" in shown
    assert "demo: ready" in repr(cells("%aphrodite status")[0])


def test_a_chat_without_a_name_starts_anew_each_time(cells: Cells) -> None:
    cells("%%aphrodite --chat --temperature 0 --into first\nWhat is 39 + 48?")
    cells("%%aphrodite --chat --temperature 0 --into second\nWhat is 39 + 48?")
    same, _ = cells("first.result.prompt_token_ids == second.result.prompt_token_ids")
    assert same is True
