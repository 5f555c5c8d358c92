"""Tokens in a page: shaded, hovered, switched without script; safe whatever the model wrote."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from html.parser import HTMLParser

import pytest
from playwright.sync_api import Page, expect

from aphrodite.display.generation import Generation, Generations
from aphrodite.display.live_text import LiveText
from aphrodite.display.shade import STRONGEST
from aphrodite_engine.outputs import CompletionOutput
from tests.browser.chromium import look
from tests.display.made import STORY, Made, generation, output, position

HOSTILE: list[Made] = [
    ("<script>document.title='x'</script>", 0.5, 0.7), ("\"' onmouseover='document.title=1'", 0.5, 0.7), ("&lt;", 1, 0),
]  # fmt: skip
BACKGROUNDS = {"light": ("#fff", "#111"), "dark": ("#111", "#eee")}


class Text(HTMLParser):
    """What is read of a piece of HTML, and the hover of each token."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.titles, self.tags = "", list[str](), list[str]()
        self.feed(re.sub("<style>.*?</style>", "", html))

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.titles += [value or "" for name, value in attrs if name == "title"]


def html_of(found: Generation | Generations) -> str:
    return found._repr_mimebundle_()[0]["text/html"]


def show(page: Page, html: str, theme: str = "light") -> None:
    background, colour = BACKGROUNDS[theme]
    style = f"background:{background};color:{colour};font:14px system-ui;margin:2em;max-width:60em"
    page.set_content(f'<!doctype html><meta charset="utf-8"><body style="{style}">{html}')


def opacity(page: Page, place: int) -> float:
    """Of a token's shade."""
    token = page.locator(".aphrodite-text > *").nth(place)
    found = re.fullmatch(r"rgba?\((.*)\)", token.evaluate("token => getComputedStyle(token).backgroundColor"))
    assert found is not None
    numbers = found[1].split(", ")
    return float(numbers[3]) if len(numbers) > 3 else 1.0


def test_hovering_tells_rank_entropy_and_what_else_there_was() -> None:
    titles = Text(html_of(generation())).titles
    assert titles[2] == "rank 2, entropy 2.00 nats\n○ 75.0 %  ␣else\n● 25.0 %  ␣a"
    assert titles[0] == "rank 1, entropy 0.00 nats\n● 100.0 %  Once"


def test_an_older_result_without_entropy_is_shown_too() -> None:
    found = generation(CompletionOutput(0, 7, "a", [0], [position(0, "a", 0.5, None)], "stop"))
    assert Text(html_of(found)).titles == ["rank 1\n● 50.0 %  a\n○ 50.0 %  ␣else"]


def test_a_model_s_markup_is_text() -> None:
    text = "".join(each for each, _, _ in HOSTILE)
    for found in (generation(output(HOSTILE), prompt=text, model=text), generation(output(HOSTILE, finish=None))):
        for html in (html_of(found), html_of(Generations([found]))):
            assert text in Text(html).text and "script" not in Text(html).tags


def test_a_model_s_markup_does_nothing_in_a_browser(page: Page) -> None:
    found = generation(output(HOSTILE), prompt=HOSTILE[0][0])
    show(page, html_of(found) + html_of(Generations([found])))
    for place in range(3):
        page.locator(".aphrodite-text > *").nth(place).hover()
    assert page.title() == ""


def test_the_text_is_all_there_whatever_its_tokens_say() -> None:
    fox: list[Made] = [("Pip ", 0.5, 1), *[("\ufffd", 0.5, 1)] * 4, ("<end>", 0.9, 1)]
    html = html_of(generation(output(fox, "Pip 🦊")))
    assert Text(html).text.startswith("Pip 🦊") and Text(html).titles[4].startswith("rank 1")
    assert html.count('data-shown="·"') == 3 and 'data-shown="&lt;end&gt;"' in html


def test_newlines_and_spaces_can_be_seen() -> None:
    html = html_of(generation(output([("\n\n", 0.5, 1), ("\t", 0.5, 1)])))
    assert "⏎⏎" in Text(html).titles[0] and "⇥" in Text(html).titles[1] and 'data-shown="⏎"' in html


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_switch_needs_no_script(page: Page, theme: str) -> None:
    show(page, html_of(generation()) + html_of(generation(output(), output(index=1))), theme)
    assert [opacity(page, place) for place in range(4)] == pytest.approx([0, 0.06, 0.45, 0.59], abs=0.01)
    page.get_by_label("shade tokens by entropy").first.check()
    assert opacity(page, 2) == pytest.approx(STRONGEST * (1 - 0.1353), abs=0.01)
    assert opacity(page, 6) == pytest.approx(0.45, abs=0.01), "another output keeps its own shade"
    look(page, f"generation-{theme}")
    page.get_by_label("shade tokens by none").first.check()
    assert opacity(page, 3) == 0


def test_the_shade_that_was_asked_for_is_there_from_the_start(page: Page) -> None:
    show(page, html_of(generation().shaded("entropy")))
    assert opacity(page, 2) == pytest.approx(STRONGEST * (1 - 0.1353), abs=0.01)
    expect(page.get_by_label("shade tokens by entropy")).to_be_checked()


def test_enter_on_the_switch_does_not_leave_the_page(page: Page) -> None:
    show(page, html_of(generation()))
    page.get_by_label("shade tokens by entropy").press("Enter")
    expect(page.locator(".aphrodite-text")).to_have_text("Once upon a fox")
    assert page.url == "about:blank"


def test_where_styles_are_stripped_the_text_and_the_unlikely_tokens_are_left() -> None:
    """As code hosts do: no style, class, data or form; what is no element is text."""
    stripped = r"<style>.*?</style>|</?(form|label|input)\b[^>]*>| (style|class|data-shown)=\"[^\"]*\""
    shown = Text(re.sub(stripped, "", html_of(generation())))
    assert shown.text == "Once upon a foxdemo · 4 tokens"
    assert [tag for tag in shown.tags if tag in ("span", "mark")] == ["span", "span", "mark", "mark"]


def test_where_only_the_style_element_is_stripped_the_switch_is_not_seen(page: Page) -> None:
    """As JupyterLab does in notebooks that are not trusted."""
    show(page, re.sub("<style>.*?</style>", "", html_of(generation())))
    expect(page.get_by_label("shade tokens by entropy")).to_be_hidden()
    assert opacity(page, 2) == pytest.approx(0.45, abs=0.01)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_list_is_a_table(page: Page, theme: str) -> None:
    found = Generations([generation(prompt="Say " * 60), generation(output(), output(index=1, finish="length"))])
    show(page, html_of(found), theme)
    look(page, f"generations-{theme}")
    cells = page.locator("tbody tr")
    expect(cells).to_have_count(3)
    expect(cells.nth(2)).to_contain_text("1.1")
    expect(cells.nth(2)).to_contain_text("length")
    assert page.locator("td[title]").first.get_attribute("title") == "Say " * 60


def test_a_long_list_says_what_it_leaves_out() -> None:
    found = Generations([generation() for _ in range(60)])
    assert html_of(found).count("<tr") == 51 and "10 more; .df has all of them" in html_of(found)
    assert "10 more" in repr(found)


# ---- while it grows


def test_while_it_grows_each_update_is_what_rendering_it_anew_would_be() -> None:
    tokens = [*STORY, ("\ufffd", 0.5, 1.0), ("\ufffd", 0.5, 1.0), (" said", 0.5, 1.0), ("<end>", 0.9, 0.1)] * 5
    pieces = ["Once", " upon", " a", " fox", "", "é", " said", ""] * 5
    growing = LiveText("probability")
    for count in range(1, len(tokens) + 1):
        now = output(tokens[:count], "".join(pieces[:count]), finish=None)
        html = growing.html(now)
        assert Text(html).text == now.text
        assert html == LiveText("probability").html(now)


def test_an_unfinished_generation_is_shaded_and_small() -> None:
    tokens = STORY * 250
    live, whole = html_of(generation(output(tokens, finish=None))), html_of(generation(output(tokens)))
    assert "background:rgba" in live and "title" not in live
    assert len(live) < len(whole) / 3
    assert "background" not in html_of(generation(output(tokens, finish=None), shade="none"))


def seconds(work: Callable[[], None], times: int = 7) -> float:
    """The best of several: what else runs on the machine is not what is measured."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return min(found)


def test_a_thousand_tokens_cost_little_of_the_second_the_engine_takes_for_them() -> None:
    """Twenty updates while they come, and the whole at the end, in a tenth of that time; usually a hundredth."""
    tokens = [(f" word{place % 97}", 0.3 + 0.6 * (place % 7) / 7, 1.0) for place in range(1000)]
    outputs = [output(tokens[:count], finish=None) for count in range(50, 1001, 50)]

    def stream() -> None:
        found = generation(outputs[0])
        for each in outputs:
            found.result.outputs[0] = each
            found._repr_mimebundle_()
        generation(output(tokens))._repr_mimebundle_()

    assert seconds(stream) < 0.1
