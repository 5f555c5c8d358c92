"""`aphrodite replay`: a result made again from its recipe, in a process of its own and over HTTP."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.apps.cli import CommandLine, start
from tests.service.running import running

pytestmark = pytest.mark.slow

PROMPT = "Once upon a time"


@pytest.fixture
def recipe(aphrodite: CommandLine, tmp_path: Path) -> Path:
    """Of a story."""
    file = tmp_path / "a story.json"
    made = aphrodite("generate", PROMPT, "--max-tokens", "12", "--top-p", "0.9", "--recipe", str(file))
    assert made.code == 0 and f"recipe in {file}" in made.err and f"aphrodite replay '{file}'" in made.err
    return file


def changed(recipe: Path, **fields: Any) -> Path:
    recipe.write_text(json.dumps(json.loads(recipe.read_text()) | fields))
    return recipe


def test_another_process_makes_the_same_tokens(recipe: Path) -> None:
    process = start("replay", str(recipe))
    out, err = process.communicate(timeout=60)
    assert (process.returncode, "the same 12 tokens" in err) == (0, True), err
    assert out.strip()


def test_other_tokens_are_shown_and_are_status_1(aphrodite: CommandLine, recipe: Path) -> None:
    (ids,) = json.loads(recipe.read_text())["outputs"]
    done = aphrodite("replay", str(changed(recipe, outputs=[[*ids[:4], 31, *ids[5:]]])))
    assert done.code == 1
    assert "output 0 differs from token 4 on" in done.out and "before: " in done.out and "now: " in done.out


def test_another_build_is_named_although_the_tokens_are_the_same(aphrodite: CommandLine, recipe: Path) -> None:
    done = aphrodite("replay", str(recipe), "--determinism", "fast", "--quiet")
    assert done.code in (0, 1) and "determinism: fast, the recipe has strict" in done.out + done.err


def test_over_http_too(aphrodite: CommandLine, recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running() as service:
        monkeypatch.setenv("APHRODITE_API_KEY", service.connection.admin_key)
        done = aphrodite("replay", str(recipe), "--url", service.url)
        assert (done.code, "the same 12 tokens" in done.err) == (0, True), done.err
        assert "not for --url" in aphrodite("replay", str(recipe), "--url", service.url, "--dtype", "bfloat16").err


def test_mistakes_are_one_line(aphrodite: CommandLine, recipe: Path, tmp_path: Path) -> None:
    missing = aphrodite("replay", str(tmp_path / "none.json"))
    assert (missing.code, missing.err.count("\n")) == (2, 1) and "No such file" in missing.err
    bad = aphrodite("replay", str(changed(recipe, format=7)))
    assert bad.code == 2 and "format=7 is not allowed: 1" in bad.err
    two = tmp_path / "prompts.txt"
    two.write_text("a\nb\n")
    several = aphrodite("generate", "--input", str(two), "--recipe", str(tmp_path / "r.json"))
    assert several.code == 2 and "give one prompt, not 2" in several.err


def test_several_sequences_and_json_have_a_recipe_too(aphrodite: CommandLine, tmp_path: Path) -> None:
    file = str(tmp_path / "several.json")
    assert aphrodite("generate", PROMPT, "-n", "2", "--max-tokens", "5", "--json", "--recipe", file).code == 0
    done = aphrodite("replay", file, "--quiet")
    assert (done.code, done.out, "the same 10 tokens" in done.err) == (0, "", True)
