"""Chromium for tests: a page that fails its test when anything it asked for lies outside this machine.

Fixtures (every test folder has them through tests/conftest.py):

    page             a fresh page in light colours; its context holds no cookies, no storage
    dark_page        the same, where the system prefers dark
    console_errors   what the test's pages have written to their console as an error, and what they have thrown

`look(page, "name")` keeps a screenshot where APHRODITE_SCREENSHOTS names a folder; without it nothing is written.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, ViewportSize, sync_playwright

ColorScheme = Literal["light", "dark"]

#: The last one: whatever a page asks for, no name but this machine's is ever resolved.
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE *.localhost, EXCLUDE 127.0.0.1",
)  # fmt: skip
VIEWPORT = ViewportSize(width=1280, height=900)
SECONDS = 30_000  # milliseconds, until an awaited thing counts as missing
_INSIDE = ("data", "blob", "about", "chrome", "devtools")  # schemes that need no network


@dataclass
class Chromium:
    """The browser of this test session, and the event loop that talks to it."""

    browser: Browser
    loop: asyncio.AbstractEventLoop

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Playwright leaves its loop marked as running in this thread; other tests want to run loops of their own."""
        asyncio._set_running_loop(self.loop)
        try:
            yield
        finally:
            asyncio._set_running_loop(None)


@dataclass
class Visit:
    """What the pages of one test did."""

    asked: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def watch(self, context: BrowserContext) -> None:
        context.on("request", lambda request: self.asked.append(request.url))
        context.on("page", lambda page: page.on("websocket", lambda socket: self.asked.append(socket.url)))
        context.on("console", self._heard)
        context.on("weberror", lambda error: self.errors.append(str(error.error)))

    def check(self) -> None:
        """Fail if anything was asked of another machine."""
        left = sorted({url for url in self.asked if not stays_here(url)})
        assert not left, f"asked of other machines: {', '.join(left)}"

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} ({message.location.get('url', '')})")


def executable() -> str:
    """Chromium's path; skips the test where there is none, and fails it in continuous integration."""
    found = shutil.which("chromium")
    if found is None:
        assert os.environ.get("CI") != "true", "chromium is missing; .ci/environment installs it under CI=true"
        pytest.skip("chromium is not installed (Debian: apt-get install chromium)")
    return found


def stays_here(url: str) -> bool:
    """Whether a request for this address stays on this machine."""
    parts = urlsplit(url)
    if parts.scheme in _INSIDE:
        return True
    host = parts.hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    """One browser for all tests of this process."""
    path = executable()
    playwright = sync_playwright().start()
    found = Chromium(playwright.chromium.launch(executable_path=path, args=ARGUMENTS), asyncio.get_running_loop())
    asyncio._set_running_loop(None)
    yield found
    with found.in_use():
        found.browser.close()
        playwright.stop()


@pytest.fixture
def visit() -> Iterator[Visit]:
    """What the pages of this test ask for; nothing of it may leave the machine."""
    watched = Visit()
    yield watched
    watched.check()


@pytest.fixture
def console_errors(visit: Visit) -> list[str]:
    """What the pages of this test complain of, as it comes."""
    return visit.errors


@pytest.fixture
def page(chromium: Chromium, visit: Visit) -> Iterator[Page]:
    """A fresh page where the system prefers light."""
    with opened(chromium, visit, "light") as found:
        yield found


@pytest.fixture
def dark_page(chromium: Chromium, visit: Visit) -> Iterator[Page]:
    """A fresh page where the system prefers dark."""
    with opened(chromium, visit, "dark") as found:
        yield found


@contextlib.contextmanager
def opened(chromium: Chromium, visit: Visit, scheme: ColorScheme) -> Iterator[Page]:
    """A page in a context of its own, watched."""
    with chromium.in_use():
        context = chromium.browser.new_context(color_scheme=scheme, viewport=VIEWPORT)
        context.set_default_timeout(SECONDS)
        visit.watch(context)
        try:
            yield context.new_page()
        finally:
            context.close()


def look(page: Page, name: str) -> None:
    """Keep a picture of the whole page, where somebody wants to look at it."""
    folder = os.environ.get("APHRODITE_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True, animations="disabled")
