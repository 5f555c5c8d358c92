"""What the tab key offers, in lines, in the first line of prompt cells and in `{{expr`."""

from __future__ import annotations

import os
import time

import pytest
from IPython.core.completer import provisionalcompleter

from tests.magics.conftest import Cells


def offered(cells: Cells, text: str) -> set[str]:
    """The whole words that could stand where the text ends."""
    with provisionalcompleter():
        return {found.text for found in cells.shell.Completer.completions(text, len(text))}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("%aphrodite sta", {"status"}),
        ("x = %aphrodite sta", {"status"}),
        ("%aphrodite generate 'x' --top-", {"--top-a", "--top-k", "--top-n-sigma", "--top-p"}),
        ("%%aphrodite --inter", {"--interact"}),
        ("%%aphrodite -m ", {"demo"}),
        ("%%aphrodite --model=d", {"demo"}),
        ("%aphrodite generate x --preset cr", {"creative"}),
        ("%%aphrodite --logprobs-mode ", {"raw", "processed"}),
        ("%%aphrodite --into my_va", {"my_variable"}),
        ("%%aphrodite --schema my_va", {"my_variable"}),
        ("%%aphrodite -p min_", {"min_p=", "min_tokens="}),
        ("%%aphrodite --interact temperature_", {"temperature_last"}),
        ("%%aphrodite\nHello {{my_va", {"my_variable"}),
        ("%%aphrodite\n{{a}} and {{ my_variable.ite", {"items"}),
        ("%aphrodite generate '{{my_va", {"my_variable"}),
        ("%aphrodite presets sh", {"show"}),
        ("%aphrodite presets show gre", {"greedy"}),
        ("%aphrodite keys re", {"revoke"}),
        ("%aphrodite help unl", {"unload"}),
    ],
)
def test_words_are_offered_where_they_fit(cells: Cells, text: str, wanted: set[str]) -> None:
    cells("my_variable = {'a': 1}")
    assert offered(cells, text) == wanted


def test_all_sub_commands_and_flags_are_offered(cells: Cells) -> None:
    assert {"up", "generate", "keys", "play", "help"} <= offered(cells, "%aphrodite ")
    assert {"--temperature", "--system", "--interact", "-t"} <= offered(cells, "%%aphrodite -")
    assert "--interact" not in offered(cells, "%aphrodite generate x --")


def test_nothing_of_ours_is_offered_elsewhere(cells: Cells) -> None:
    assert "status" not in offered(cells, "sta")
    assert "my_variable" in offered(cells, "my_va")


def test_without_a_service_it_is_silent_and_quick(
    cells: Cells, monkeypatch: pytest.MonkeyPatch, tmp_path: os.PathLike[str]
) -> None:
    monkeypatch.setenv("APHRODITE_RUNTIME_DIR", str(tmp_path))
    magics = cells.shell.magics_manager.registry["AphroditeMagics"]
    magics.notebook.disconnect()
    started = time.monotonic()
    assert "demo" not in offered(cells, "%%aphrodite -m ")
    assert time.monotonic() - started < 2
