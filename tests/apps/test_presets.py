"""`aphrodite presets`, and `--preset` of the commands that sample."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aphrodite.presets import BUILT_IN
from tests.apps.cli import CommandLine

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of this test's own presets."""
    monkeypatch.setenv("APHRODITE_CONFIG_DIR", str(tmp_path))
    return tmp_path / "presets"


def test_the_list_says_what_each_is_for(aphrodite: CommandLine) -> None:
    assert aphrodite("presets", "save", "mine", "--top-p", "0.5", "--why", "for the survey").code == 0
    done = aphrodite("presets")
    assert done.code == 0 and done.out == aphrodite("presets", "list").out
    for name, preset in BUILT_IN.items():
        assert name in done.out.split() and preset.why in done.out
    assert done.out.endswith("top_p=0.5\n               your own · for the survey\n")
    rows = json.loads(aphrodite("presets", "--json").out)
    assert rows == json.loads(aphrodite("presets", "list", "--json").out)
    assert rows[-1] == {"name": "mine", "fields": {"top_p": 0.5}, "why": "for the survey", "own": True}


def test_one_is_kept_shown_and_deleted(aphrodite: CommandLine, folder: Path) -> None:
    done = aphrodite("presets", "save", "mine", "--temperature", "0.5", "--max-tokens", "256")
    assert done.out == "kept as mine: temperature=0.5\n" and str(folder / "mine.toml") in done.err
    assert json.loads(aphrodite("presets", "show", "mine").out) == {"temperature": 0.5}
    assert aphrodite("presets", "delete", "mine").out == "mine is deleted\n"
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("show", "gredy"), "did you mean greedy"),
        (("delete", "greedy"), "is built in"),
        (("save", "greedy", "--top-p", "0.5"), "is built in"),
        (("save", "mine", "--top-p", "1.5"), "top_p=1.5"),
        (("lst",), "invalid choice"),
    ],
)
def test_a_mistake_is_one_line(aphrodite: CommandLine, argv: tuple[str, ...], said: str) -> None:
    done = aphrodite("presets", *argv)
    assert done.code in (1, 2) and done.out == "" and said in done.err and done.err.count("\n") == 1


@pytest.mark.parametrize("command", ["generate", "chat"])
def test_a_preset_is_where_flags_begin(aphrodite: CommandLine, command: str) -> None:
    def answer(*flags: str) -> str:
        argv = ("generate", "What is 39 + 48?", "--chat") if command == "generate" else ("chat",)
        done = aphrodite(*argv, "-q", "--seed", "3", "--max-tokens", "9", *flags, stdin="What is 39 + 48?\n")
        assert done.code == 0, done.err
        return done.out

    assert answer("--preset", "greedy").strip() == "87"
    assert answer("--preset", "greedy", "--temperature", "30") == answer("--temperature", "30") != "87\n"
    done = aphrodite(command, "--preset", "grady", *(["x"] if command == "generate" else []))
    assert done.code == 1 and "did you mean greedy" in done.err
    done = aphrodite(command, "--preset", "steady", "--top-p", "0.5", *(["x"] if command == "generate" else []))
    assert done.code == 2 and "mirostat_mode=2 takes the place of all steps" in done.err
