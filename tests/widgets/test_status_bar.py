"""The status bar on a real service: live, and gone when it is closed."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from aphrodite.client import Client, ClientClosed
from aphrodite.widgets.status_bar import StatusBar
from tests.browser.chromium import look
from tests.service.running import Running, running, wait_for
from tests.widgets.frontend import render


@pytest.fixture(scope="module")
def service() -> Iterator[Running]:
    with running() as found:
        yield found


@pytest.fixture
def client(service: Running) -> Iterator[Client]:
    with Client(service.url, api_key=service.connection.admin_key) as found:
        yield found


@pytest.fixture
def bar(client: Client) -> Iterator[StatusBar]:
    found = StatusBar(client, interval=0.05)
    yield found
    found.close()


def threads() -> int:
    return sum(thread.name == "aphrodite-status-bar" for thread in threading.enumerate())


def test_it_tells_of_each_model(bar: StatusBar) -> None:
    (model,) = bar.reading["models"]
    assert (model["model"], model["state"], model["running"], model["waiting"]) == ("demo", "ready", 0, 0)
    assert model["memory_mib"] > 10 and bar.reading["problem"] == ""


def test_it_follows_what_the_service_does(bar: StatusBar, client: Client) -> None:
    stream = client.stream("Once", ignore_eos=True, max_tokens=1500)
    next(stream)
    wait_for(lambda: bar.reading["models"][0]["running"] == 1 and max(bar.reading["rates"], default=0) > 0, 20)
    stream.close()
    wait_for(lambda: bar.reading["models"][0]["running"] == 0, 20)


def test_closed_it_looks_no_more(client: Client) -> None:
    before = threads()
    bars = [StatusBar(client, interval=0.02) for _ in range(3)]
    assert threads() == before + 3
    for bar in bars:
        bar.close()
        bar.close()
    wait_for(lambda: threads() == before, 10)


def test_a_closed_client_ends_it_and_says_so(service: Running) -> None:
    before = threads()
    with Client(service.url, api_key=service.connection.admin_key) as client:
        bar = StatusBar(client, interval=0.02)
    wait_for(lambda: "not connected" in bar.reading["problem"], 10)
    wait_for(lambda: threads() == before, 10)
    bar.close()


def test_without_a_client_there_is_none(service: Running) -> None:
    client = Client(service.url, api_key=service.connection.admin_key)
    client.close()
    with pytest.raises(ClientClosed):
        StatusBar(client)


def test_its_static_form_is_a_table(bar: StatusBar, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle, _ = bar._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert "demo" in bundle["text/plain"] and "<table" in bundle["text/html"] and "| demo |" in bundle["text/markdown"]
    monkeypatch.setenv("APHRODITE_DISPLAY", "static")
    assert "application/vnd.jupyter.widget-view+json" not in bar._repr_mimebundle_()[0]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_is_one_line_in_a_browser(page: Page, bar: StatusBar, theme: str, console_errors: list[str]) -> None:
    render(page, bar, theme)
    line = page.get_by_role("status")
    expect(line).to_contain_text("0 tokens/s")
    expect(line).to_contain_text("demo")
    model = {"model": "<b>x</b>", "state": "silent", "running": 3, "waiting": 12, "output_tok_s": 1234.4,
             "kv_share": 0.25, "memory_mib": 4096.0}  # fmt: skip
    rates = [float(100 * (place % 13)) for place in range(60)]
    news = {"url": "http://x", "problem": "nobody answers", "models": [*bar.reading["models"], model], "rates": rates}
    page.evaluate("news => window.model.set('reading', news)", news)
    for words in ("1,234 tokens/s", "<b>x</b>silent", "3 running", "12 waiting", "25 %", "4,096 MiB", "nobody answers"):
        expect(line).to_contain_text(words)
    look(page, f"status-bar-{theme}")
    assert page.locator("b").count() == 0 and console_errors == []
    page.evaluate("window.leave()")
    assert page.evaluate("window.listeners['change:reading'].length") == 0
