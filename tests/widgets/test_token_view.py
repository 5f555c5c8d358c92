"""The token view: what Python gives it, what it does in a browser, what stands in for it."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect
from traitlets import TraitError

from aphrodite.widgets.sequence import NOTHING, sequence
from aphrodite.widgets.token_view import TokenView
from aphrodite_engine.outputs import CompletionOutput
from tests.browser.chromium import look
from tests.display.made import STORY, Made, branch, generation, output
from tests.widgets.frontend import render, sent, trait

LIVE = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def view() -> TokenView:
    return generation().view()


def test_a_generation_gives_its_view(view: TokenView) -> None:
    tokens = view.sequence["tokens"]
    assert [token["text"] for token in tokens] == ["Once", " upon", " a", " fox"]
    assert tokens[2]["others"] == [["␣else", pytest.approx(0.75), False, 999], ["␣a", pytest.approx(0.25), True, 2]]
    assert (view.shade, view.selected, view.sequence["facts"]) == ("probability", None, "demo · 4 tokens")
    second = generation(output(), output(STORY[:2], index=1)).shaded("entropy").view(1)
    assert second.sequence["facts"] == "demo · 2 tokens"


def test_parts_of_characters_and_marks_have_signs() -> None:
    fox: list[Made] = [*[("\ufffd", 0.5, 1)] * 4, ("\n", 0.5, 1), ("<end>", 0.9, 1)]
    shown = TokenView(output(fox, "🦊\n")).sequence["tokens"]
    assert [(token["text"], token["sign"]) for token in shown] == [
        ("", "·"), ("", "·"), ("", "·"), ("🦊", ""), ("\n", "⏎"), ("", "<end>"),
    ]  # fmt: skip


def test_a_bundle_holds_the_static_form_too(view: TokenView) -> None:
    bundle, _ = view._repr_mimebundle_()
    assert bundle[LIVE]["model_id"] == view.model_id
    assert bundle["text/plain"] == "Once upon a fox" and bundle["text/html"].count('title="') == 4
    assert bundle["text/markdown"] == "> Once upon a fox"


@pytest.mark.parametrize("mode", ["static", "plain"])
def test_without_a_live_display_the_static_form_is_all(
    view: TokenView, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setenv("APHRODITE_DISPLAY", mode)
    assert set(view._repr_mimebundle_()[0]) == {"text/plain", "text/html", "text/markdown"}


def test_the_static_form_has_the_shade_that_was_chosen(view: TokenView) -> None:
    view.shade = "entropy"
    assert 'value="entropy" aria-label="shade tokens by entropy" checked' in view.static_form()["text/html"]
    with pytest.raises(TraitError):
        view.shade = "colour"


# ---- in a browser


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_hovering_shows_the_alternatives_as_bars(
    page: Page, view: TokenView, theme: str, console_errors: list[str]
) -> None:
    render(page, view, theme)
    page.locator(".token").nth(2).hover()
    popup = page.get_by_role("tooltip")
    expect(popup).to_contain_text("rank 2, entropy 2.00 nats")
    expect(popup.locator(".row")).to_have_text(["␣else75.0 %", "␣a25.0 %"])
    widths = popup.locator(".bar div").evaluate_all("bars => bars.map((bar) => bar.style.width)")
    assert widths == ["75%", "25%"]
    look(page, f"token-view-{theme}")
    page.mouse.move(600, 600)
    expect(popup).to_be_hidden()
    assert console_errors == []


def test_the_switch_changes_the_shade_here_and_in_the_kernel(page: Page, view: TokenView) -> None:
    render(page, view)
    background = "token => getComputedStyle(token).backgroundColor"
    fox = page.locator(".token").nth(3)
    assert fox.evaluate(background).startswith("rgba(255, 152, 0")
    page.get_by_role("radio", name="entropy").click()
    assert fox.evaluate(background).startswith("rgba(84, 120, 255") and trait(page, "shade") == "entropy"
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="none")).to_be_checked()
    expect(page.get_by_role("radio", name="none")).to_be_focused()
    assert fox.evaluate(background) == "rgba(0, 0, 0, 0)"
    page.evaluate("window.model.set('shade', 'probability')")
    assert fox.evaluate(background).startswith("rgba(255, 152, 0")


def test_a_click_selects_a_token_and_a_second_one_lets_it_go(page: Page, view: TokenView) -> None:
    render(page, view)
    fox = page.locator(".token").nth(3)
    fox.click()
    assert trait(page, "selected") == 3
    expect(fox).to_have_attribute("aria-pressed", "true")
    fox.click()
    assert trait(page, "selected") is None
    expect(fox).not_to_have_attribute("aria-pressed", "true")


def test_the_keyboard_does_all_of_it(page: Page, view: TokenView) -> None:
    render(page, view)
    page.keyboard.press("Tab")
    expect(page.get_by_role("radio", name="probability")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator(".token").first).to_be_focused()
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "End", "ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
    expect(page.locator(".token").nth(2)).to_be_focused()
    expect(page.get_by_role("tooltip")).to_contain_text("rank 2")
    page.keyboard.press("Enter")
    assert trait(page, "selected") == 2
    page.keyboard.press("Escape")
    expect(page.get_by_role("tooltip")).to_be_hidden()
    page.keyboard.press("Home")
    expect(page.locator(".token").first).to_be_focused()


def test_a_model_s_markup_is_text(page: Page, console_errors: list[str]) -> None:
    hostile: list[Made] = [("<img src=x onerror=document.title=1>", 0.5, 1), ("</style><script>1</script>", 0.5, 1)]
    render(page, TokenView(output(hostile), model="<b>"))
    expect(page.locator(".text")).to_have_text("".join(each for each, _, _ in hostile))
    page.locator(".token").first.hover()
    expect(page.get_by_role("tooltip")).to_contain_text("<img␣src=x")
    assert page.title() == "" and page.locator("img, b").count() == 0 and console_errors == []


def test_a_thousand_tokens_are_shown_and_walked_over(page: Page) -> None:
    render(page, TokenView(output([(f" word{place}", 0.5, 1.0) for place in range(1000)])))
    expect(page.locator(".token")).to_have_count(1000)
    page.locator(".token").first.focus()
    page.keyboard.press("End")  # far below what the window shows: it scrolls there, and the popup comes along
    expect(page.locator(".token").last).to_be_in_viewport()
    expect(page.get_by_role("tooltip")).to_be_in_viewport(ratio=1)


def test_without_logprobs_it_is_the_text(page: Page) -> None:
    render(page, TokenView(CompletionOutput(0, 7, "just text", [1, 2])))
    expect(page.locator(".text")).to_have_text("just text")
    expect(page.get_by_role("radiogroup")).to_be_hidden()


def test_taken_away_it_listens_to_nothing(page: Page, view: TokenView) -> None:
    render(page, view)
    page.locator(".token").first.hover()
    page.evaluate("window.leave()")
    assert page.evaluate("Object.values(window.listeners).flat().length") == 0
    expect(page.get_by_role("tooltip")).to_be_hidden()


# ---- branching


@pytest.fixture
def growing() -> TokenView:
    """A view that can write on."""
    whole = generation()
    return TokenView(whole.result.outputs[0], model="demo", generation=whole)


def branched(view: TokenView) -> list[dict[str, Any]]:
    """What Python would show of a branch, one that is being written, and one that failed."""
    found = sequence(branch(generation(), 3, [(" sat", 0.3, 1.2), (" still", 0.6, 0.8)]).result.outputs[0], "demo", 3)
    about = {"of": 0, "at": 3, "label": "␣cat", "problem": ""}
    return [
        about | found,
        NOTHING | about | {"of": 1, "at": 5, "label": "seed 9", "facts": "writing on …"},
        NOTHING | about | {"label": "␣else", "problem": "the service has gone"},
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_click_on_an_alternative_asks_for_a_branch(
    page: Page, growing: TokenView, theme: str, console_errors: list[str]
) -> None:
    render(page, growing, theme)
    page.locator(".token").nth(2).click()
    menu = page.get_by_role("menu")
    expect(menu.get_by_role("menuitem")).to_have_text(["␣else75.0 %", "␣a25.0 %", "another draw from here"])
    expect(page.locator(".token").nth(2)).to_have_attribute("aria-expanded", "true")
    look(page, f"token-menu-{theme}")
    menu.get_by_role("menuitem", name="write on with ␣else").click()
    assert sent(page) == [{"kind": "branch", "of": 0, "at": 2, "token_id": 999}]
    expect(menu).to_be_hidden()
    expect(page.locator(".token").nth(2)).to_be_focused()
    page.evaluate("branches => window.model.set('branched', branches)", branched(growing))
    expect(page.get_by_role("region", name="branch 1").locator(".text")).to_have_text("Once upon a cat sat still")
    expect(page.get_by_role("region", name="branch 2").get_by_role("status")).to_have_text("writing on …")
    expect(page.get_by_role("alert")).to_have_text("the service has gone")
    kept = page.locator(".kept").first
    expect(kept).to_have_text("Once upon a")
    look_of = "kept => [getComputedStyle(kept).opacity, getComputedStyle(kept).textDecorationLine]"
    assert kept.evaluate(look_of) == ["0.6", "underline"], "not by colour alone"
    look(page, f"token-branches-{theme}")
    assert console_errors == []


def test_a_branch_s_own_tokens_branch_too(page: Page, growing: TokenView) -> None:
    growing.branched = branched(growing)
    render(page, growing)
    page.get_by_role("region", name="branch 1").locator(".token").nth(1).click()
    page.get_by_role("menuitem", name="another draw").click()
    assert sent(page) == [{"kind": "branch", "of": 1, "at": 5, "token_id": None}]
    assert trait(page, "selected") is None, "which is a place of the view's own sequence"


def test_the_keyboard_branches(page: Page, growing: TokenView) -> None:
    render(page, growing)
    page.locator(".token").first.focus()
    for key in ("ArrowRight", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    items = page.get_by_role("menuitem")
    expect(items.nth(0)).to_be_focused()
    assert trait(page, "selected") == 2
    for key in ("ArrowDown", "Enter"):
        page.keyboard.press(key)
    assert sent(page) == [], "the drawn token is there already"
    for key in ("End", "ArrowUp", "Home", "ArrowUp"):
        page.keyboard.press(key)
    expect(items.nth(2)).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("menu")).to_be_hidden()
    expect(page.locator(".token").nth(2)).to_be_focused()
    assert trait(page, "selected") == 2, "until a second click"
    for key in ("Enter", "Enter"):
        page.keyboard.press(key)
    assert sent(page) == [{"kind": "branch", "of": 0, "at": 2, "token_id": 999}]


def test_a_menu_closes_at_a_click_elsewhere(page: Page, growing: TokenView) -> None:
    render(page, growing)
    page.locator(".token").nth(2).click()
    page.locator(".token").nth(0).hover()
    expect(page.get_by_role("tooltip")).to_have_count(0)
    page.mouse.click(700, 600)
    expect(page.get_by_role("menu")).to_be_hidden()
    page.locator(".token").nth(2).click()
    assert trait(page, "selected") == 2
    page.locator(".token").nth(2).click()
    expect(page.get_by_role("menu")).to_be_hidden()
    assert trait(page, "selected") is None


def test_without_what_it_was_made_from_a_click_only_selects(page: Page, view: TokenView) -> None:
    render(page, view)
    page.locator(".token").nth(2).click()
    expect(page.get_by_role("menu")).to_have_count(0)
    with pytest.raises(ValueError, match="nothing can branch off"):
        view.branch(2, 999)


def test_a_failed_branch_says_so_and_the_next_one_works(growing: TokenView) -> None:
    """By hand made, it knows no model: that is what goes wrong here."""
    growing.branch(2, 999)
    growing.wait()
    assert growing.branches == [] and growing.branched[0]["label"] == "␣else"
    assert "put together by hand" in growing.branched[0]["problem"]
