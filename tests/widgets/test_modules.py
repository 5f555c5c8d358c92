"""The widgets' JavaScript: small, complete in itself, and in the package."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from aphrodite.widgets.sequence import module
from tests.house.tree import ROOT

FOLDER = ROOT / "workbench" / "aphrodite" / "widgets"
MODULES = sorted(FOLDER.glob("*.js"))


def test_each_widget_has_its_module_beside_it() -> None:
    assert [file.stem for file in MODULES] == ["branch_tree", "sequence", "status_bar", "token_view"]
    assert all(file.with_suffix(".py").exists() for file in MODULES)


@pytest.mark.parametrize("name", ["branch_tree", "token_view"])
def test_what_two_widgets_share_is_put_before_each(name: str) -> None:
    code = module(name)
    assert code.index("function wire(") < code.index("function render(") and code.count("export default") == 1


@pytest.mark.parametrize("file", MODULES, ids=lambda file: file.name)
def test_a_module_is_small_and_asks_for_nothing(file: Path) -> None:
    code = file.read_text()
    assert file.stat().st_size < 100_000
    # The one address is the name of the SVG format, which nobody fetches.
    assert set(re.findall(r"\w+://[^\s\"'`]+", code)) <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\bimport\b|\bfetch\(|innerHTML|outerHTML|insertAdjacentHTML|\beval\(", code)
    assert ("export default { render }" in code) == (file.stem != "sequence")


def test_the_modules_are_tracked_and_so_in_the_wheel() -> None:
    """test_wheel.py compares the wheel with what is tracked."""
    listed = subprocess.run(["git", "ls-files", "*.js"], cwd=FOLDER, capture_output=True, text=True, check=True)
    assert listed.stdout.split() == [file.name for file in MODULES]
