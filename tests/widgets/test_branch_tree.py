"""The branch tree: its order, what it does in a browser, what stands in for it."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from aphrodite.display.forks import Row, rows
from aphrodite.widgets.branch_tree import BranchTree
from tests.browser.chromium import look
from tests.display.made import branch, generation
from tests.widgets.frontend import render, sent, trait


@pytest.fixture
def tree() -> BranchTree:
    """The story, a branch at 1, one at 3, and one of the latter."""
    root = generation()
    branch(root, 1, [(" there", 0.4, 1.0), (" were", 0.8, 0.5)], forced=None)
    late = branch(root, 3, [(" sat", 0.3, 1.2), (" still", 0.6, 0.8)])
    branch(late, 5, [(" down", 0.5, 0.9), (" <b>there</b>", 0.2, 2.0)], forced=" up")
    return BranchTree(root)


def test_what_leaves_last_is_drawn_first_so_that_no_line_crosses() -> None:
    assert rows([]) == [Row(0, 0, 0)]
    assert rows([(0, 1), (0, 3), (2, 5)]) == [Row(0, 0, 0), Row(2, 1, 1), Row(3, 2, 1), Row(1, 1, 3)]


def test_it_has_every_branch_of_a_generation(tree: BranchTree) -> None:
    assert [(limb["place"], limb["at"], limb["label"], limb["told"]) for limb in tree.limbs] == [
        (0, 0, "", "Once upon a fox"), (2, 3, "␣cat", "cat sat still"), (3, 5, "␣up", "up down <b>there</b>"),
        (1, 1, "seed 8", "there were"),
    ]  # fmt: skip
    assert tree.selected is not None and tree.selected.text == "Once upon a fox"
    tree.chosen = 3
    assert tree.selected is tree.branches[2]
    assert tree.selected.text == "Once upon a cat sat up down <b>there</b>"


def test_its_static_form_is_a_tree_in_letters_and_a_picture(tree: BranchTree) -> None:
    bundle, _ = tree._repr_mimebundle_()
    assert bundle["text/plain"].splitlines() == [
        "Once upon a fox",
        "└─ 3 ␣cat: cat sat still",
        "   └─ 5 ␣up: up down <b>there</b>",
        "└─ 1 seed 8: there were",
    ]
    html = bundle["text/html"]
    assert html.count("<details") == 4 and html.count("<circle") == 3 and "<b>there</b>" not in html
    assert "script" not in html


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_click_on_a_branch_shows_its_text_and_a_token_of_it_branches(
    page: Page, tree: BranchTree, theme: str, console_errors: list[str]
) -> None:
    render(page, tree, theme)
    items = page.get_by_role("treeitem")
    expect(items).to_have_count(4)
    items.nth(1).click()
    assert trait(page, "chosen") == 2
    expect(items.nth(1)).to_have_attribute("aria-selected", "true")
    panel = page.get_by_role("region", name="branch 2")
    expect(panel.locator(".text")).to_have_text("Once upon a cat sat still")
    panel.locator(".token").nth(1).click()
    look(page, f"branch-tree-{theme}")
    page.get_by_role("menuitem", name="write on with ␣else").click()
    assert sent(page) == [{"kind": "branch", "of": 2, "at": 5, "token_id": 999}]
    assert page.locator("b", has_text="there").count() == 0 and console_errors == []


def test_the_keyboard_walks_over_the_tree(page: Page, tree: BranchTree) -> None:
    render(page, tree)
    page.keyboard.press("Tab")
    expect(page.get_by_role("treeitem").first).to_be_focused()
    walk = {"ArrowDown": 2, "ArrowRight": 3, "ArrowLeft": 2, "Home": 0, "End": 1, "ArrowUp": 3}
    for key, chosen in walk.items():
        page.keyboard.press(key)
        assert trait(page, "chosen") == chosen, key
    page.keyboard.press("Enter")
    expect(page.locator(".panel .token").first).to_be_focused()


def test_a_branch_that_came_is_drawn_and_the_focus_stays(page: Page, tree: BranchTree) -> None:
    render(page, tree)
    page.get_by_role("treeitem").nth(1).click()
    branch(tree.branches[1], 4, [(" sadly", 0.5, 1.0)], forced=None)
    grown = BranchTree(tree._root)
    page.evaluate("limbs => window.model.set('limbs', limbs)", grown.limbs)
    expect(page.get_by_role("treeitem")).to_have_count(5)
    expect(page.get_by_role("treeitem").nth(1)).to_be_focused()


def test_taken_away_it_listens_to_nothing(page: Page, tree: BranchTree) -> None:
    render(page, tree)
    page.evaluate("window.leave()")
    assert page.evaluate("Object.values(window.listeners).flat().length") == 0
