"""JupyterLab under a hub's path prefix: the first notebook runs and shows; the tile opens the playground."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chromium import look
from tests.browser.jupyter import Jupyter, beside, jupyter
from tests.browser.lab_page import LabPage
from tests.house.tree import ROOT
from tests.service.running import Running, running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

BOOK = "01_first_five_minutes.ipynb"


@pytest.fixture(scope="module")
def served() -> Iterator[Running]:
    with running() as found:
        yield found


@pytest.fixture(scope="module")
def lab(served: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    folder = tmp_path_factory.mktemp("books")
    shutil.copy(ROOT / "notebooks" / BOOK, folder)
    with jupyter(folder, "--ServerApp.base_url=/user/dana/", **beside(served)) as found:
        yield found


def test_the_first_notebook_runs_and_shows(lab: Jupyter, page: Page, console_errors: list[str]) -> None:
    page.set_viewport_size({"width": 1000, "height": 1500})
    book = LabPage(page, lab)
    book.open(BOOK)
    book.command("notebook:clear-all-cell-outputs")
    book.run_all()
    view, plot, slider = book.output("story.view()"), book.output("lines("), book.output("--interact")

    expect(view.locator(".token").nth(20)).to_be_visible()
    expect(plot.locator(".js-plotly-plot .scatterlayer .point").first).to_be_visible()
    expect(slider.locator(".widget-slider")).to_contain_text("temperature")
    expect(book.output("What is 39 + 48?")).to_contain_text("87")
    expect(book.output("%aphrodite sttus")).to_contain_text("did you mean status?")
    expect(book.output("session.chat(")).to_contain_text("92")
    view.scroll_into_view_if_needed()
    look(page, "first-notebook-light")

    book.theme("JupyterLab Dark")
    page.wait_for_timeout(500)
    for output in (view, plot, slider):
        expect(output).to_be_visible()
    assert plot.locator(".js-plotly-plot").evaluate("plot => plot.clientHeight") > 200
    look(page, "first-notebook-dark")
    assert not console_errors


def test_the_tile_opens_the_playground_and_it_answers(lab: Jupyter, page: Page, console_errors: list[str]) -> None:
    LabPage(page, lab).open()
    page.locator(".jp-LauncherCard", has_text="Aphrodite").click()
    board = page.frame_locator(".lm-DockPanel iframe")
    question = board.get_by_placeholder("Ask something.")
    # The first time, the playground itself is started; it is ready when it knows the model.
    expect(board.locator("#model input")).to_have_value("demo", timeout=120_000)
    board.locator("#field-seed input, #field-seed textarea").fill("7")
    question.fill("What is 39 + 48?")
    question.press("Enter")
    expect(board.locator("#chat-past .it .aphrodite-text")).to_contain_text("87")
    expect(board.locator("#chat-facts")).to_contain_text("seed 7")
    expect(question).to_have_value("")
    look(page, "tile")
    assert not console_errors
