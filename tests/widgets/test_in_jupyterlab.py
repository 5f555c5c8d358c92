"""Shaded tokens, the token view and the status bar in a real JupyterLab, on a real kernel and service."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import Locator, Page, expect

from tests.browser.chromium import look
from tests.browser.jupyter import Jupyter, beside, jupyter
from tests.service.running import Running, running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

CELLS = [
    "%load_ext aphrodite\n%aphrodite generate 'Once upon a time' --seed 7 --max-tokens 60 --into answer",
    "answer",
    "view = answer.view(); view",
    "print(view.selected, view.shade)",
    "%aphrodite top",
    "%aphrodite generate 'Once upon a time' '2 + 2 =' --seed 7 --max-tokens 40",
    "for _ in range(3):\n    %aphrodite generate 'Once' --n 8 --max-tokens 400 -p ignore_eos=true --into busy",
]
ASK, ANSWER, VIEW, TOLD, TOP, MANY, BUSY = range(len(CELLS))


@pytest.fixture(scope="module")
def served() -> Iterator[Running]:
    with running() as found:
        yield found


@pytest.fixture(scope="module")
def lab(served: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    with jupyter(tmp_path_factory.mktemp("notebooks"), **beside(served)) as found:
        yield found


def write(file: Path, cells: list[str] = CELLS) -> None:
    notebook = new_notebook(cells=[new_code_cell(code) for code in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, file)


def prompt(page: Page, place: int) -> Locator:
    return page.locator(".jp-CodeCell").nth(place).locator(".jp-InputPrompt")


def output(page: Page, place: int) -> Locator:
    return page.locator(".jp-CodeCell").nth(place).locator(".jp-Cell-outputArea")


def choose(page: Page, *names: str) -> None:
    """Walk through a menu."""
    page.get_by_role("menuitem", name=names[0], exact=True).click()
    for name in names[1:]:
        page.locator(".lm-Menu-itemLabel").get_by_text(name, exact=True).click()


def start(page: Page, place: int) -> None:
    """Begin a cell; a kernel that has only just started may lose the first request."""
    for _ in range(5):
        page.locator(".jp-CodeCell").nth(place).locator(".jp-InputArea-prompt").click()
        page.keyboard.press("Control+Enter")
        with contextlib.suppress(AssertionError):
            expect(prompt(page, place)).not_to_have_text("[ ]:", timeout=3_000)
            break


def run(page: Page, place: int) -> None:
    """Run a cell to its end."""
    start(page, place)
    expect(prompt(page, place)).to_have_text(re.compile(r"\[\d+\]:"), timeout=60_000)


def test_results_are_seen_switched_and_walked_over(lab: Jupyter, page: Page, console_errors: list[str]) -> None:
    page.set_viewport_size({"width": 1100, "height": 1400})
    write(lab.folder / "results.ipynb")
    page.goto(lab.address("lab/tree/results.ipynb"))
    page.get_by_text("| Idle").wait_for()
    for place in (ASK, ANSWER, VIEW, TOP, MANY):
        run(page, place)

    shaded, view = output(page, ANSWER), output(page, VIEW)
    expect(shaded.locator(".aphrodite-text > *")).to_have_count(60)
    shaded.get_by_label("shade tokens by entropy").check()
    blue = shaded.locator(".aphrodite-text > *").nth(2).evaluate("token => getComputedStyle(token).backgroundColor")
    assert blue.startswith("rgba(84, 120, 255")

    expect(view.locator(".token")).to_have_count(60)
    view.locator(".token").nth(2).click()
    expect(view.get_by_role("menuitem", name="another draw")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowRight")
    expect(view.locator(".token").nth(3)).to_be_focused()
    expect(view.get_by_role("tooltip")).to_contain_text("entropy")
    look(page, "lab-light")
    view.get_by_role("radio", name="entropy").click()
    run(page, TOLD)
    expect(output(page, TOLD)).to_contain_text("2 entropy")

    expect(output(page, TOP).get_by_role("status")).to_contain_text("demo")
    start(page, BUSY)  # the kernel has no time to answer anybody, and the bar is live all the same
    expect(output(page, TOP).get_by_role("status")).to_contain_text("8 running", timeout=20_000)
    expect(prompt(page, BUSY)).to_have_text(re.compile(r"\[\d+\]:"), timeout=60_000)
    choose(page, "Settings", "Theme", "JupyterLab Dark")
    view.locator(".token").nth(3).hover()
    look(page, "lab-dark")
    assert [error for error in console_errors if "aphrodite" in error] == []


BRANCHING = [
    "%load_ext aphrodite\n%aphrodite generate 'Once upon a time' --seed 13 -t 1.3 --max-tokens 40 --into story",
    "view = story.view(); view",
    "tree = story.tree(); tree",
    "print(len(view.branches), len(story.tree().branches), view.branches[0].fork.at)",
    "view.branches[0]",
]


def test_a_click_branches_in_view_and_tree(lab: Jupyter, page: Page, console_errors: list[str]) -> None:
    page.set_viewport_size({"width": 1100, "height": 1500})
    write(lab.folder / "branching.ipynb", BRANCHING)
    page.goto(lab.address("lab/tree/branching.ipynb?reset"))
    page.get_by_text("| Idle").wait_for()
    for place in range(3):
        run(page, place)

    view, tree = output(page, 1), output(page, 2)
    view.locator(".token").nth(3).click()
    view.get_by_role("menuitem", name="write on with").first.click()
    branch = view.get_by_role("region", name="branch 1")
    expect(branch.locator(".token")).to_have_count(36, timeout=20_000)
    look(page, "lab-branch-light")
    branch.locator(".token").nth(10).click()
    view.get_by_role("menuitem", name="another draw").click()
    expect(view.get_by_role("region", name="branch 2").locator(".token")).not_to_have_count(0)

    tree.locator(".token").nth(20).click()
    tree.get_by_role("menuitem", name="write on with").nth(1).click()
    expect(tree.get_by_role("treeitem")).to_have_count(2)
    tree.get_by_role("treeitem").nth(1).click()
    expect(tree.locator(".panel .kept")).to_be_visible()
    choose(page, "Settings", "Theme", "JupyterLab Dark")
    tree.locator(".panel .token").nth(2).click()
    look(page, "lab-branch-dark")
    page.keyboard.press("Escape")
    for place in (3, 4):
        run(page, place)
    expect(output(page, 3)).to_contain_text("2 3 3")
    expect(output(page, 4).locator(".aphrodite-kept")).to_be_visible()
    assert [error for error in console_errors if "aphrodite" in error] == []
