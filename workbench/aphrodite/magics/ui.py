"""`%aphrodite ui`: the playground of the service, as a link or inside the notebook."""

from __future__ import annotations

import argparse
from html import escape

from aphrodite.magics.command import Command
from aphrodite.magics.notebook import Notebook

_HEIGHT = 800


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--embed", action="store_true", help="show it in the notebook, not only its address")
    parser.add_argument("--height", type=int, default=_HEIGHT, metavar="N", help=f"of --embed (default: {_HEIGHT})")


def run(notebook: Notebook, arguments: argparse.Namespace) -> Playground:
    from aphrodite.addresses import browser_address, notebook_link

    url, height = notebook.client().url, arguments.height if arguments.embed else None
    if notebook.connection is None:
        return Playground(f"{url}/", f"{url}/", height)
    port, scheme = notebook.connection.port, url.partition("://")[0]
    return Playground(browser_address(port, scheme=scheme), notebook_link(port, scheme=scheme), height)


class Playground:
    """Where it is.

    Attributes:
        address: to open in a browser.
        link: the same from within this notebook.
        height: in pixels, of a frame that shows it; None is a link only.
    """

    def __init__(self, address: str, link: str, height: int | None) -> None:
        self.address, self.link, self.height = address, link, height

    def __repr__(self) -> str:
        return f"the playground is at {self.address}"

    def _repr_html_(self) -> str:
        where, shown = escape(self.link), escape(self.address)
        link = f'<a href="{where}" target="_blank" rel="noopener">Open the playground</a> <code>{shown}</code>'
        if self.height is None:
            return link
        frame = f'<iframe src="{where}" style="width:100%;height:{self.height}px;border:0"></iframe>'
        return f"<div>{link}</div>{frame}"


COMMAND = Command("ui", "Show the playground's address, or the playground itself.", add_arguments, run)
