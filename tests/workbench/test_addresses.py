"""Where the browser finds the service: plainly, behind a hub, behind an editor.

Through a running Jupyter server: tests/apps/test_jupyter.py.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from aphrodite.addresses import browser_address, notebook_link

NAMES = ("VSCODE_PROXY_URI", "JUPYTERHUB_SERVICE_PREFIX", "JUPYTERHUB_PUBLIC_URL", "JPY_PARENT_PID")


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))


def test_plainly_on_this_machine() -> None:
    assert browser_address(2242) == "http://127.0.0.1:2242/"
    assert browser_address(3000, "/docs?a=1", scheme="https") == "https://127.0.0.1:3000/docs?a=1"
    assert notebook_link(2242) == "http://127.0.0.1:2242/"


@pytest.mark.parametrize("prefix", ["/user/dana/", "/user/dana", "/hub/user/dana/gpu/"])
def test_behind_a_hub_that_does_not_tell_its_address(monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", prefix)
    assert browser_address(2242, "/docs") == f"{prefix.rstrip('/')}/aphrodite/2242/docs"


def test_a_hub_at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/")
    assert browser_address(2242) == "/aphrodite/2242/"


@pytest.mark.parametrize("public", ["https://hub.example/user/dana/", "https://hub.example"])
def test_behind_a_hub_that_tells_its_address(monkeypatch: pytest.MonkeyPatch, public: str) -> None:
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/user/dana/")
    monkeypatch.setenv("JUPYTERHUB_PUBLIC_URL", public)
    assert browser_address(2242) == "https://hub.example/user/dana/aphrodite/2242/"
    assert notebook_link(2242, "/docs") == "/user/dana/aphrodite/2242/docs"


@pytest.mark.parametrize("template", ["https://code.example/proxy/{{port}}", "https://code.example/proxy/{{port}}/"])
def test_behind_an_editor_in_the_browser(monkeypatch: pytest.MonkeyPatch, template: str) -> None:
    monkeypatch.setenv("VSCODE_PROXY_URI", template)
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/user/dana/")
    assert browser_address(2242, "/docs") == "https://code.example/proxy/2242/docs"
    assert notebook_link(2242) == "https://code.example/proxy/2242/"


def test_an_editor_in_a_domain_a_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VSCODE_PROXY_URI", "https://{{port}}--dana.code.example")
    assert browser_address(2242) == "https://2242--dana.code.example/"


@pytest.mark.parametrize("template", ["./proxy/{{port}}", "https://code.example/"])
def test_an_editor_that_gives_no_address(monkeypatch: pytest.MonkeyPatch, template: str) -> None:
    monkeypatch.setenv("VSCODE_PROXY_URI", template)
    assert browser_address(2242) == "http://127.0.0.1:2242/"


@pytest.mark.parametrize("record", [None, "no JSON", json.dumps({"url": "http://localhost:9/", "base_url": "/"})])
def test_a_parent_that_is_no_jupyter_server_one_can_ask(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, record: str | None
) -> None:
    monkeypatch.setenv("JPY_PARENT_PID", str(os.getpid()))
    if record is not None:
        (tmp_path / f"jpserver-{os.getpid()}.json").write_text(record)
    assert browser_address(2242) == "http://127.0.0.1:2242/"
