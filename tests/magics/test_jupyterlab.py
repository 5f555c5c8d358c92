"""Sliders and the small playground of a notebook, in JupyterLab as somebody uses it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chromium import look
from tests.browser.jupyter import beside, jupyter
from tests.browser.lab_page import LabPage
from tests.service.running import Running

pytestmark = pytest.mark.slow

_CELLS = [
    "%load_ext aphrodite",
    "%%aphrodite --interact temperature,max_tokens --max-tokens 8 -s 1\nOnce upon a time",
    "%aphrodite play 'What is 39 + 48?'",
]

#: A story is told in a few tenths of a second: stop it as soon as that is possible.
_STOP_AT_ONCE = """async ([generate, stop]) => {
    generate.click();
    while (stop.disabled) await new Promise(resolve => setTimeout(resolve, 1));
    stop.click();
}"""


def _write(file: Path) -> None:
    cells = [
        {
            "cell_type": "code",
            "id": f"c{number}",
            "source": source,
            "metadata": {},
            "outputs": [],
            "execution_count": None,
        }
        for number, source in enumerate(_CELLS)
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    file.write_text(
        json.dumps({"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5})
    )


def test_a_slider_asks_again_and_the_playground_answers(served: Running, page: Page, tmp_path: Path) -> None:
    _write(tmp_path / "controls.ipynb")
    with jupyter(tmp_path, **beside(served)) as lab:
        notebook = LabPage(page, lab)
        notebook.open("controls.ipynb")
        notebook.run_all()
        output = notebook.output("--interact")
        expect(output).to_contain_text("8 tokens")
        output.locator(".widget-slider", has_text="max_tokens").locator(".widget-readout").click()
        page.keyboard.press("ControlOrMeta+a")
        page.keyboard.type("30\n")
        expect(output).to_contain_text("30 tokens")
        look(page, "sliders")
        board = notebook.output("play 'What")
        board.get_by_role("button", name="Generate").click()
        expect(board).to_contain_text("87")
        board.scroll_into_view_if_needed()
        look(page, "play")
        board.get_by_role("checkbox").uncheck()
        board.get_by_role("textbox").fill("Once upon a time")
        board.locator(".widget-slider", has_text="max_tokens").locator(".widget-readout").click()
        page.keyboard.press("ControlOrMeta+a")
        page.keyboard.type("1024\n")
        buttons = [board.get_by_role("button", name=name).element_handle() for name in ("Generate", "Stop")]
        page.evaluate(_STOP_AT_ONCE, buttons)
        expect(board).to_contain_text("interrupted")
        look(page, "stopped")
