"""The tile in JupyterLab: under a hub's path prefix, attached to the running service, closed to foreign pages."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from aphrodite.service import daemon, runtime
from aphrodite_apps.jupyter import server_process
from tests.browser.jupyter import Jupyter, beside, jupyter
from tests.service.running import Running, free_port, running

pytestmark = pytest.mark.slow

PREFIX = "/user/dana/"
#: As JupyterHub starts a user's server.
AS_ON_A_HUB = (f"--ServerApp.base_url={PREFIX}", "--ServerApp.allow_remote_access=True")
HUB = "hub.example"


@pytest.fixture(scope="module")
def served() -> Iterator[Running]:
    with running() as found:
        yield found


@pytest.fixture(scope="module")
def lab(served: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    with jupyter(tmp_path_factory.mktemp("notebooks"), *AS_ON_A_HUB, **beside(served)) as found:
        yield found


@pytest.fixture(scope="module")
def http(lab: Jupyter) -> Iterator[httpx2.Client]:
    with lab.client() as client:
        yield client


def test_its_icon_is_in_the_package() -> None:
    assert Path(server_process()["launcher_entry"]["icon_path"]).read_text().startswith("<svg")


def test_jupyter_shows_a_tile(http: httpx2.Client) -> None:
    (tile,) = http.get("server-proxy/servers-info").json()["server_processes"]
    assert (tile["name"], tile["launcher_entry"]["title"]) == ("aphrodite", "Aphrodite")
    icon = http.get(f"http://{http.base_url.netloc.decode()}{tile['launcher_entry']['icon_url']}")
    assert icon.headers["content-type"] == "image/svg+xml"


def test_the_extension_that_shows_it_is_switched_on(http: httpx2.Client) -> None:
    page = http.get("lab").text
    config = json.loads(page.split('id="jupyter-config-data"')[1].split(">", 1)[1].split("</script>")[0])
    extension = "@jupyterhub/jupyter-server-proxy"
    assert extension in [found["name"] for found in config["federated_extensions"]]
    assert not [name for name in config["disabledExtensions"] if name.startswith(extension)]


@pytest.mark.parametrize("way", ["aphrodite/", "aphrodite/{port}/", "proxy/{port}/"])
def test_every_way_through_jupyter_reaches_the_service(lab: Jupyter, served: Running, way: str) -> None:
    models = httpx2.get(lab.address(way.format(port=served.connection.port) + "v1/models"))
    assert [model["id"] for model in models.json()["data"]] == ["demo"]


def test_who_is_not_logged_in_to_jupyter_does_not_get_through(lab: Jupyter) -> None:
    for path in ("aphrodite/v1/models", "aphrodite/"):
        answer = httpx2.get(lab.url + path)
        assert answer.status_code == 302
        assert answer.headers["location"].startswith(f"{PREFIX}login")


def test_called_by_the_name_of_a_hub(http: httpx2.Client) -> None:
    """JupyterHub's proxy keeps the browser's Host, ends TLS and adds X-Forwarded headers."""
    headers = {
        "host": HUB, "origin": f"https://{HUB}", "sec-fetch-site": "same-origin", "x-forwarded-proto": "https",
        "x-forwarded-for": "203.0.113.7", "x-forwarded-host": HUB, "via": "1.1 hub", "x-real-ip": "203.0.113.7",
    }  # fmt: skip
    body = {"model": "demo", "messages": [{"role": "user", "content": "What is 39 + 48?"}], "temperature": 0}
    answer = http.post("aphrodite/v1/chat/completions", json=body, headers=headers)
    assert answer.json()["choices"][0]["message"]["content"] == "87"


@pytest.mark.parametrize(
    "headers",
    [
        {"host": HUB, "origin": "https://evil.example"},
        {"host": HUB, "origin": "null"},
        {"host": HUB, "origin": f"https://{HUB}.evil.example"},
        {"host": "localhost:8888", "origin": "http://localhost:3000"},  # another server on this machine: the same site
        {"host": HUB, "sec-fetch-site": "cross-site"},
        {"host": HUB, "sec-fetch-site": "same-site"},
    ],
)
def test_pages_of_other_origins_are_refused(http: httpx2.Client, headers: dict[str, str]) -> None:
    answer = http.post("aphrodite/v1/chat/completions", json={}, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "origin_not_allowed")


def test_the_service_itself_is_as_closed_to_foreign_names_as_before(served: Running, http: httpx2.Client) -> None:
    """What a page behind a rebound name can send: any header of its own, but not its Host."""
    forged = {"host": HUB, "x-forwarded-prefix": PREFIX, "x-forwarded-context": PREFIX, "x-forwarded-host": "127.0.0.1"}
    with served.client() as direct:
        assert direct.get("/v1/models", headers=forged).status_code == 421
    assert http.get(f"proxy/{served.connection.port}/v1/models", headers=forged).status_code == 421


def test_a_stream_comes_piece_by_piece(http: httpx2.Client) -> None:
    body = {"model": "demo", "prompt": "Once upon a time", "max_tokens": 400, "ignore_eos": True, "stream": True}
    arrived = []
    with http.stream("POST", "aphrodite/v1/completions", json=body, headers={"accept": "text/event-stream"}) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: "):
                arrived.append((time.monotonic(), line))
    assert arrived[-1][1] == "data: [DONE]"
    assert (
        arrived[-1][0] - arrived[0][0] > 0.05
    )  # 400 tokens take that long on any machine; buffered, they come at once


def test_an_upload_and_an_error_keep_their_form(http: httpx2.Client) -> None:
    uploaded = http.post("aphrodite/v1/files", files={"file": ("a.jsonl", b'{"a": 1}')}, data={"purpose": "batch"})
    assert uploaded.json()["bytes"] == 8
    missing = http.get("aphrodite/v1/models/none%20such")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")


def test_the_kernel_knows_the_address(lab: Jupyter, served: Running) -> None:
    """A kernel's environment has its Jupyter server's process id."""
    code = "import aphrodite.addresses as a; print(a.browser_address({0}, '/docs'), a.notebook_link({0}))"
    port = served.connection.port
    environment = {**lab.environment, "JPY_PARENT_PID": str(lab.process.pid)}
    done = subprocess.run(
        [sys.executable, "-c", code.format(port)], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [f"{lab.url}aphrodite/{port}/docs", f"{PREFIX}aphrodite/{port}/"]


def test_a_port_without_a_service(http: httpx2.Client, served: Running) -> None:
    port = free_port()
    page = http.get(f"aphrodite/{port}/")
    assert page.status_code == 404
    assert f"No service runs on port {port}." in page.text and f"aphrodite up --port {port}" in page.text
    called = http.get(f"aphrodite/{port}/v1/models")
    assert (called.status_code, called.json()["error"]["code"]) == (503, "no_service")
    slash = http.get(f"aphrodite/{served.connection.port}")
    assert (slash.status_code, slash.headers["location"]) == (307, f"{served.connection.port}/")


@pytest.fixture
def fresh() -> Iterator[dict[str, str]]:
    """Folders in which no service runs; one that was started is ended."""
    port, home = free_port(), Path(tempfile.mkdtemp(prefix="aph-"))  # short: Unix sockets have short paths
    folders = {f"APHRODITE_{name}_DIR": str(home / name.lower()) for name in ("RUNTIME", "DATA", "CONFIG")}
    Path(folders["APHRODITE_RUNTIME_DIR"]).mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in folders.items():
            patch.setenv(name, value)
        yield {**folders, "APHRODITE_PORT": str(port)}
        if runtime.read_connection(port) is not None:
            daemon.down(port)
    shutil.rmtree(home)


def test_a_click_starts_the_service_once_and_it_outlives_jupyter(fresh: dict[str, str], tmp_path: Path) -> None:
    port = int(fresh["APHRODITE_PORT"])
    with jupyter(tmp_path, *AS_ON_A_HUB, **fresh) as lab, lab.client() as http:
        assert http.get("aphrodite/v1/models").status_code == 503  # a program does not start one
        assert runtime.read_connection(port) is None
        first = http.get("aphrodite/")
        assert first.status_code == 503 and "one is being started" in first.text
        while http.head("aphrodite/").status_code == 503:
            time.sleep(0.2)
        assert "could not" not in http.get("aphrodite/").text
        assert http.get("aphrodite/v1/models").json()["data"][0]["id"] == "demo"
    assert runtime.running_ports() == [port]


def test_a_start_that_fails_says_why(fresh: dict[str, str], tmp_path: Path) -> None:
    Path(fresh["APHRODITE_RUNTIME_DIR"]).rmdir()
    Path(fresh["APHRODITE_RUNTIME_DIR"]).write_text("a file where the folder should be")
    with jupyter(tmp_path, **fresh) as lab, lab.client() as http:
        assert http.get("aphrodite/").status_code == 503
        while http.head("aphrodite/").status_code == 503:
            time.sleep(0.2)
        page = http.get("aphrodite/")
    assert page.status_code == 500
    assert "could not be started" in page.text and "APHRODITE_RUNTIME_DIR" in page.text
