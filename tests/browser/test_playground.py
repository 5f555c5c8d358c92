"""The playground in Chromium: asks, stops, shows tokens; light and dark; under a prefix; nothing leaves the machine."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from aphrodite.service.settings import ServiceSettings
from tests.browser.chromium import look
from tests.service.nginx import require_nginx
from tests.service.running import DEMO, Running, free_port, running, wait_for
from tests.service.teammates import new_key

QUESTION, ANSWER = "#chat-question textarea", "#chat-past .it .aphrodite-text"
NOW = "#chat-now .aphrodite-text > *"
STORY = "Tell me a story about a fox named Pip."


@pytest.fixture(scope="module")
def served() -> Iterator[Running]:
    with running() as found:
        yield found


def open_page(page: Page, address: str) -> None:
    """From the entrance to the chat; the first time includes the start."""
    page.goto(address)
    expect(page.locator(QUESTION)).to_be_visible(timeout=60_000)
    expect(page.locator("#model input")).to_have_value("demo", timeout=20_000)


def ask(page: Page, question: str) -> None:
    page.fill(QUESTION, question)
    page.press(QUESTION, "Enter")


def write_without_end(page: Page) -> None:
    """Set the fields so that an answer takes seconds."""
    page.fill("#field-max_tokens input", "1900")
    page.get_by_role("button", name="Where it ends").click()
    page.check("#field-ignore_eos input")


#: In the page itself: on a busy machine the answer would be whole before a click from outside has arrived.
_STOP_IN_THE_MIDDLE = f"""() => {{
  const timer = setInterval(() => {{
    const stop = document.querySelector("#chat-question .stop-button");
    if (!stop || document.querySelectorAll("{NOW}").length < 15) return;
    clearInterval(timer);
    stop.click();
  }}, 5);
}}"""


def running_now(service: Running) -> int:
    with service.client(headers=service.admin) as client:
        return client.get("/admin/status").json()["models"][0]["stats"]["running"]


def test_it_chats_and_shows_its_tokens(served: Running, page: Page, console_errors: list[str]) -> None:
    open_page(page, served.url)
    look(page, "playground-light")
    page.fill("#field-seed input, #field-seed textarea", "7")
    ask(page, "What is 39 + 48?")
    expect(page.locator(ANSWER)).to_contain_text("87")
    tokens = page.locator(f"{ANSWER} > [title]")
    assert tokens.count() >= 2
    hover = tokens.first.get_attribute("title") or ""
    assert "●" in hover and hover.count("○") >= 4  # the drawn token, and what else could have come
    expect(page.locator("#chat-facts")).to_contain_text("seed 7")
    cell = page.input_value("#chat-cell textarea")
    assert cell.startswith("%%aphrodite -m demo") and "--seed 7" in cell and cell.endswith("\nWhat is 39 + 48?")
    ask(page, STORY)
    expect(page.locator(ANSWER)).to_have_count(2)
    look(page, "playground-answered")
    page.get_by_role("button", name="New conversation").click()
    expect(page.locator(ANSWER)).to_have_count(0)
    assert console_errors == []


def test_stop_ends_the_request_in_the_engine_and_keeps_the_text(served: Running, page: Page) -> None:
    open_page(page, served.url)
    write_without_end(page)
    page.evaluate(_STOP_IN_THE_MIDDLE)
    ask(page, STORY)
    expect(page.locator(ANSWER)).to_have_count(1)
    wait_for(lambda: running_now(served) == 0, 5)
    expect(page.locator("#chat-facts")).to_contain_text("stopped")
    assert len(page.inner_text(ANSWER)) > 20
    look(page, "playground-stopped")
    expect(page.locator("#chat-question .submit-button")).to_be_visible()
    ask(page, "What is 39 + 48?")  # the next one works
    page.wait_for_function(f"document.querySelectorAll('{NOW}').length > 0")
    page.close()  # and a closed page ends what it had begun
    wait_for(lambda: running_now(served) == 0, 10)


def test_it_writes_on_from_a_text_in_the_dark(served: Running, dark_page: Page, console_errors: list[str]) -> None:
    page = dark_page
    open_page(page, served.url)
    assert "dark" in (page.locator("body").get_attribute("class") or "")
    page.get_by_role("tab", name="Completion").click()
    page.fill("#completion-prompt textarea", "Once upon a time")
    page.press("#completion-prompt textarea", "Shift+Enter")
    expect(page.locator("#completion-facts")).to_contain_text("seed")
    text = page.inner_text("#completion-written .written")
    assert text.startswith("Once upon a time") and len(text) > 40
    page.get_by_role("button", name="Take as the text").click()
    expect(page.locator("#completion-prompt textarea")).to_have_value(re.compile("^Once upon a time.+", re.S))
    look(page, "playground-dark")
    assert console_errors == []


def test_a_click_on_a_token_shows_its_stages_and_another_one_writes_on(
    served: Running, page: Page, console_errors: list[str]
) -> None:
    open_page(page, served.url)
    page.get_by_role("tab", name="Completion").click()
    page.click("#preset input")
    page.get_by_role("option", name="Preset: creative").click()
    expect(page.locator("#field-temperature input[type=number]")).to_have_value("1.2", timeout=20_000)
    page.fill("#completion-prompt textarea", "Once upon a time")
    page.press("#completion-prompt textarea", "Shift+Enter")
    expect(page.locator("#completion-facts")).to_contain_text("seed")
    tokens = page.locator("#completion-written .aphrodite-text > [title]")
    before = tokens.all_inner_texts()
    tokens.nth(3).click()
    expect(page.locator("#completion-look")).to_contain_text("Token 3")
    expect(page.locator("#completion-look svg")).to_contain_text("temperature")
    look(page, "playground-token")
    other = page.locator("#completion-others label").first
    text = other.inner_text().split(" · ")[0].replace("␣", " ")
    other.click()
    expect(page.locator("#completion-written b[title]")).to_have_text(text)
    expect(page.locator("#completion-written .aphrodite-kept")).to_have_text("".join(before[:3]))
    expect(page.locator("#completion-facts")).to_contain_text("seed")
    look(page, "playground-branch")
    page.locator("#completion-written .aphrodite-text > [title^=rank]").nth(1).click()
    expect(page.locator("#completion-look")).to_contain_text("Token 5")
    assert console_errors == []


def test_presets_move_the_controls_and_neutralise_takes_them_back(served: Running, page: Page) -> None:
    open_page(page, served.url)
    temperature = page.locator("#field-temperature input[type=number]")
    page.click("#preset input")
    page.get_by_role("option", name="Preset: creative").click()
    expect(temperature).to_have_value("1.2")
    expect(page.locator("#preset-about")).to_contain_text("stories")
    look(page, "preset")
    page.fill("#field-max_tokens input", "5")
    page.press("#field-max_tokens input", "Tab")
    expect(page.locator("#preset input")).to_have_value("My own values")
    expect(page.locator("#preset-about")).to_have_text("")
    page.click("#neutralise")
    expect(temperature).to_have_value("1")
    expect(page.locator("#field-max_tokens input")).to_have_value("256")
    expect(page.locator("#preset input")).to_have_value("Preset: neutral")


def test_a_mistake_is_one_line_and_the_question_stays(served: Running, page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})  # a telephone
    open_page(page, served.url)
    page.fill("#field-seed input, #field-seed textarea", "seven")
    ask(page, "hello")
    expect(page.locator("#chat-facts [role=alert]")).to_have_text("seed='seven' is not allowed: a whole number or none")
    expect(page.locator(QUESTION)).to_have_value("hello")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    look(page, "playground-mistake-narrow")


def test_who_needs_a_key_logs_in_also_after_a_link(page: Page) -> None:
    with running(ServiceSettings(models=(DEMO,), require_key=True)) as service:
        page.goto(service.url)
        expect(page.get_by_label("Key")).to_be_visible()
        look(page, "playground-login")
        page.get_by_label("Key").fill("wrong")
        page.get_by_role("button").click()
        expect(page.get_by_role("alert")).to_contain_text("wrong")
        page.get_by_label("Key").fill(new_key(service))
        page.get_by_role("button").click()
        expect(page.locator(QUESTION)).to_be_visible(timeout=60_000)
        ask(page, "What is 39 + 48?")
        expect(page.locator(ANSWER)).to_contain_text("87")
        # A link on a page of another site: its visitor is still known.
        page.goto(f"data:text/html,<a href='{service.url}/'>there</a>")
        page.get_by_text("there").click()
        expect(page.locator(QUESTION)).to_be_visible()


_NGINX = """
daemon off; master_process off; pid nginx.pid; error_log error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    scgi_temp_path scgi; uwsgi_temp_path uwsgi;
    server {{
        listen 127.0.0.1:{port};
        location /user/dana/proxy/2242/ {{
            proxy_pass {url}/;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
        }}
    }}
}}
"""


@contextlib.contextmanager
def nginx_with_prefix(url: str, folder: Path) -> Iterator[str]:
    """The service's address behind an nginx that tells it nothing about the prefix."""
    port = free_port()
    (folder / "nginx.conf").write_text(_NGINX.format(port=port, url=url))
    process = subprocess.Popen([require_nginx(), "-p", f"{folder}/", "-c", "nginx.conf", "-e", "error.log"])
    try:
        yield f"http://127.0.0.1:{port}/user/dana/proxy/2242/"
    finally:
        process.terminate()
        process.wait(20)


def test_it_works_behind_a_proxy_under_a_prefix(
    served: Running, page: Page, tmp_path: Path, console_errors: list[str]
) -> None:
    with nginx_with_prefix(served.url, tmp_path) as address:
        wait_for(lambda: (tmp_path / "nginx.pid").exists(), 10)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        open_page(page, address)
        ask(page, "What is 39 + 48?")
        expect(page.locator(ANSWER)).to_contain_text("87")
        assert all(url.startswith((address, "data:")) for url in asked), asked
        assert console_errors == []
        page.goto("about:blank")
