"""The pages that tests get: watched, coloured, and out of the way of other tests' event loops."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.browser.chromium import Chromium, Visit, look, opened, stays_here


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8888/lab", "ws://localhost:1/x", "http://[::1]/", "data:text/css,a", "blob:http://x/1"]
)
def test_what_stays_here(url: str) -> None:
    assert stays_here(url)


@pytest.mark.parametrize(
    "url", ["https://cdn.example/a.js", "http://10.0.0.1/", "wss://localhost.example/", "file:///etc"]
)
def test_what_leaves(url: str) -> None:
    assert not stays_here(url)


def test_a_request_to_another_machine_is_caught(chromium: Chromium) -> None:
    visit = Visit()
    with opened(chromium, visit, "light") as page:
        page.set_content("<script>fetch('http://example.com/x').catch(() => document.title = 'done')</script>")
        page.wait_for_function("document.title == 'done'")
    with pytest.raises(AssertionError, match=r"asked of other machines: http://example\.com/x"):
        visit.check()


def test_a_web_socket_to_another_machine_is_caught(chromium: Chromium) -> None:
    visit = Visit()
    with opened(chromium, visit, "light") as page:
        page.set_content("<script>new WebSocket('ws://example.com/y').onerror = () => document.title = 'done'</script>")
        page.wait_for_function("document.title == 'done'")
    with pytest.raises(AssertionError, match=r"ws://example\.com/y"):
        visit.check()


def test_errors_of_a_page_are_collected(page: Page, console_errors: list[str]) -> None:
    page.set_content("<script>console.error('said'); console.log('not this'); throw new Error('thrown')</script>")
    page.wait_for_function("true")
    assert [error.split(" (")[0] for error in console_errors if "not this" not in error] == ["said", "thrown"]


@pytest.mark.parametrize("fixture, scheme", [("page", "light"), ("dark_page", "dark")])
def test_pages_are_light_or_dark(fixture: str, scheme: str, request: pytest.FixtureRequest) -> None:
    page = request.getfixturevalue(fixture)
    assert page.evaluate(f"matchMedia('(prefers-color-scheme: {scheme})').matches")


def test_other_tests_may_run_loops(chromium: Chromium) -> None:
    async def answer() -> int:
        return 87

    assert asyncio.run(answer()) == 87


def test_pictures_are_kept_only_where_a_folder_is_named(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page.set_content("hello")
    monkeypatch.delenv("APHRODITE_SCREENSHOTS", raising=False)
    look(page, "never")
    monkeypatch.setenv("APHRODITE_SCREENSHOTS", str(tmp_path / "shots"))
    look(page, "once")
    assert [file.name for file in tmp_path.rglob("*.png")] == ["once.png"]
