"""JupyterLab's page as somebody uses it: open a notebook, run it, look at a cell's output, change the theme."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from playwright.sync_api import Locator, Page

from tests.browser.jupyter import Jupyter

Theme = Literal["JupyterLab Light", "JupyterLab Dark"]


@dataclass(frozen=True)
class LabPage:
    """A page of the browser in which JupyterLab is open."""

    page: Page
    lab: Jupyter

    def open(self, notebook: str = "") -> None:
        """JupyterLab with this notebook and a kernel that is ready; without one, with its launcher."""
        self.page.goto(self.lab.address(f"lab/tree/{notebook}" if notebook else "lab?reset"))
        self.page.wait_for_function("window.jupyterapp?.shell?.currentWidget")
        if notebook:
            self.page.wait_for_function("path => jupyterapp.shell.currentWidget.context?.path === path", arg=notebook)
            self.page.evaluate("jupyterapp.shell.currentWidget.sessionContext.ready")
            self.page.get_by_text("| Idle").wait_for()

    def run_all(self) -> bool:
        """Run every cell; whether all of them did what they should."""
        return self.command("notebook:run-all-cells")

    def theme(self, name: Theme) -> None:
        self.command("apputils:change-theme", theme=name)
        self.page.wait_for_function(f"document.body.dataset.jpThemeName === {name!r}")

    def cell(self, source: str) -> Locator:
        """The code cell with this text."""
        return self.page.locator(".jp-CodeCell", has=self.page.locator(".jp-InputArea-editor", has_text=source)).first

    def output(self, source: str) -> Locator:
        """What the cell with this text shows."""
        return self.cell(source).locator(".jp-Cell-outputArea")

    def command(self, name: str, **arguments: object) -> Any:
        return self.page.evaluate("([name, given]) => jupyterapp.commands.execute(name, given)", [name, arguments])
