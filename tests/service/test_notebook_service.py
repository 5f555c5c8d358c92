"""A local service on a host that others use too (N1 to N6)."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import socket
import ssl
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
import pytest

from aphrodite.service import daemon
from aphrodite.service.access import exposure
from aphrodite.service.access.keys import KeyStore
from aphrodite.service.runtime import ServiceError
from aphrodite.service.settings import ServiceSettings
from tests.service.running import DEMO, Running, running
from tests.service.teammates import bearer, new_key
from tests.service.wire_client import post, request, say

CHAT = "/v1/chat/completions"
OTHER_USER = 65534


# ---- N1: addresses


def _refusal(settings: ServiceSettings, data: Path) -> str:
    """Why a service does not start."""
    done = subprocess.run(
        [sys.executable, "-m", "aphrodite.service"], input=msgspec.json.encode(settings), capture_output=True,
        env=os.environ | {"APHRODITE_DATA_DIR": str(data), "APHRODITE_RUNTIME_DIR": str(data)}, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    errors = [line for line in done.stderr.decode().splitlines() if line.startswith("error: ")]
    assert "Traceback" not in done.stderr.decode()
    return errors[0]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7"])
def test_n1_other_machines_are_not_let_in_without_a_key_and_tls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("APHRODITE_DATA_DIR", str(tmp_path))
    settings = ServiceSettings(models=(DEMO,), host=host, port=0)
    with pytest.raises(ServiceError, match="aphrodite keys add NAME"):
        exposure.check(settings)
    store = KeyStore(tmp_path / "keys.sqlite")
    store.add("dana")
    with pytest.raises(ServiceError, match="--tls-cert and --tls-key, or --insecure-http"):
        exposure.check(settings)
    insecure = msgspec.structs.replace(settings, insecure_http=True)
    exposure.check(insecure)
    store.revoke("dana")
    with pytest.raises(ServiceError, match="aphrodite keys add NAME"):
        exposure.check(insecure)


def test_n1_the_service_itself_refuses_whoever_starts_it(tmp_path: Path) -> None:
    assert "aphrodite keys add NAME" in _refusal(ServiceSettings(models=(DEMO,), host="0.0.0.0", port=0), tmp_path)


def test_n1_a_star_is_no_origin() -> None:
    with pytest.raises(ServiceError, match="is not an origin"):
        exposure.check(ServiceSettings(allowed_origins=("*",)))


def test_n1_it_listens_on_one_address(service: Running) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", service.connection.port), timeout=5)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of its own authority, as a laboratory would make one."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
         "2", "-subj", "/CN=lab.example", "-addext", "subjectAltName=DNS:lab.example", "-keyout",
         str(folder / "key.pem"), "-out", str(folder / "cert.pem")],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder


def test_n1_with_a_key_and_tls_it_listens_everywhere(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Path(tempfile.mkdtemp(prefix="aph-"))  # short: Unix sockets have short paths
    monkeypatch.setenv("APHRODITE_DATA_DIR", str(home))
    monkeypatch.setenv("APHRODITE_RUNTIME_DIR", str(home))
    key = KeyStore(home / "keys.sqlite").add("dana")
    settings = ServiceSettings(
        models=(DEMO,), host="0.0.0.0", port=0, allowed_hosts=("lab.example",),
        tls_cert=str(certificate / "cert.pem"), tls_key=str(certificate / "key.pem"),
    )  # fmt: skip
    connection = daemon.up(settings).connection
    try:
        assert connection.url == f"https://127.0.0.1:{connection.port}"
        assert daemon.ask(connection, "GET", "/admin/status")["models"]
        trusting = ssl.create_default_context(cafile=certificate / "cert.pem")
        assert _status(connection.port, trusting, {}) == 401
        assert _status(connection.port, trusting, bearer(key)) == 200
        with socket.create_connection(("127.0.0.1", connection.port), timeout=10) as plain:
            plain.sendall(request("/v1/models", f"x-api-key: {key}", host="lab.example"))
            assert not plain.recv(100).startswith(b"HTTP/1.1 200")
    finally:
        daemon.down(connection.port)
        shutil.rmtree(home)


def _status(port: int, context: ssl.SSLContext, headers: dict[str, str]) -> int:
    """Of a request under the certificate's name."""
    plain = socket.create_connection(("127.0.0.1", port), timeout=10)
    client = http.client.HTTPConnection("lab.example", port)
    with contextlib.closing(context.wrap_socket(plain, server_hostname="lab.example")) as client.sock:
        client.request("GET", "/v1/models", headers=headers)
        return client.getresponse().status


# ---- N2: the token


def test_n2_the_token_is_long_and_lies_where_only_its_owner_reads(service: Running) -> None:
    assert len(service.connection.admin_key) * 6 >= 128
    [file] = (service.home / "run" / "aphrodite").glob("*/service.json")
    for path, mode in ((file, 0o600), (file.parent, 0o700), (file.parent.parent, 0o700)):
        assert stat.S_IMODE(path.stat().st_mode) == mode
    assert stat.S_IMODE((service.home / "data").stat().st_mode) == 0o700
    assert {stat.S_IMODE(f.stat().st_mode) & 0o077 for f in (service.home / "data").rglob("*")} <= {0}


def test_n2_the_token_is_not_on_a_command_line_in_an_environment_or_in_the_log(service: Running) -> None:
    pids = [service.process.pid, service.engine_pid()]
    for pid in pids:
        for name in ("cmdline", "environ"):
            assert service.connection.admin_key not in Path(f"/proc/{pid}/{name}").read_text()
    assert service.connection.admin_key not in service.log


def test_n2_a_token_in_an_address_opens_nothing_and_no_cookie_is_set(guarded: Running) -> None:
    for name in ("token", "key", "api_key", "access_token"):
        with guarded.client(cookies={name: guarded.connection.admin_key}) as client:
            answer = client.get("/v1/models", params={name: guarded.connection.admin_key})
            assert answer.status_code == 401
            assert "set-cookie" not in answer.headers
    assert guarded.connection.admin_key not in guarded.log


# ---- N3: another user of the machine


@pytest.mark.skipif(os.getuid() != 0 or shutil.which("setpriv") is None, reason="N3 needs root and setpriv")
def test_n3_another_user_finds_nothing(service: Running) -> None:
    service.home.chmod(0o711)  # what is inside must protect itself
    [file] = (service.home / "run" / "aphrodite").glob("*/service.json")
    new_key(service)
    secrets = [
        file, file.parent, service.home / "data", service.home / "data" / "keys.sqlite",
        *(Path(f"/proc/{pid}/{name}") for pid in (service.process.pid, service.engine_pid())
          for name in ("environ", "mem", "fd")),
    ]  # fmt: skip
    for path in secrets:
        assert path.exists()
        command = ["ls", str(path)] if path.is_dir() else ["head", "-c1", str(path)]
        done = _as_other_user(*command)
        assert done.returncode != 0 and "ermission denied" in done.stderr, path
    ours = [path for path in Path("/dev/shm").iterdir() if path.stat().st_mode & 0o077 and "aph" in path.name]
    assert not ours


def test_n3_the_engine_s_socket_is_gone_once_it_is_connected(service: Running) -> None:
    assert not list((service.home / "run").rglob("*.sock"))


@pytest.mark.skipif(os.getuid() != 0 or shutil.which("setpriv") is None, reason="N3 needs root and setpriv")
def test_n3_another_user_needs_a_key_where_one_is_asked_for(guarded: Running) -> None:
    code = (
        "import urllib.request, urllib.error\n"
        f"try: urllib.request.urlopen('{guarded.url}/v1/models')\n"
        "except urllib.error.HTTPError as error: print(error.code)"
    )
    assert _as_other_user("/usr/bin/env", "python3", "-c", code).stdout.strip() == "401"


def test_n3_a_folder_that_somebody_else_made_first_is_refused() -> None:
    with tempfile.TemporaryDirectory(prefix="aph-") as folder:  # short: Unix sockets have short paths
        (Path(folder) / "aphrodite").symlink_to("/tmp")
        reason = _refusal(ServiceSettings(models=(DEMO,), port=0), Path(folder))
    assert "is not a folder of this user's" in reason


def _as_other_user(*command: str) -> subprocess.CompletedProcess[str]:
    user = f"--reuid={OTHER_USER}", f"--regid={OTHER_USER}", "--clear-groups"
    return subprocess.run(["setpriv", *user, *command], capture_output=True, text=True, timeout=20)


# ---- N4, N5: web pages

PAGES = {
    "a foreign page": ["Origin: https://evil.example"],
    "a sandboxed page": ["Origin: null"],
    "a look-alike": ["Origin: http://localhost.evil.example"],
    "a look-alike of an allowed page": ["Origin: https://pages.example.evil.example"],
    "an allowed page without TLS": ["Origin: http://pages.example"],
    "another port of this machine": ["Origin: http://localhost:3000", "Sec-Fetch-Site: same-site"],
    "an old browser": ["Origin: https://evil.example"],
    "a link or an image": ["Sec-Fetch-Site: cross-site"],
    "another port, an image": ["Sec-Fetch-Site: same-site"],
    "two origins": ["Origin: https://pages.example", "Origin: https://evil.example"],
    "an empty origin": ["Origin:"],
}


@pytest.mark.parametrize("page", PAGES)
def test_n4_foreign_pages_are_refused_with_and_without_a_key(guarded: Running, service: Running, page: str) -> None:
    key = f"x-api-key: {guarded.connection.admin_key}"
    upgrade = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAA"]
    form = request(CHAT, "Content-Type: text/plain", "Content-Length: 2", *PAGES[page], method="POST") + b"{}"
    for where, headers in ((guarded, [key]), (service, [])):
        for data in (
            request("/v1/models", *headers, *PAGES[page]),
            request("/health", *headers, *PAGES[page]),
            request("/v1/models", *headers, *PAGES[page], *upgrade),
            request(CHAT, *headers, *PAGES[page], "Access-Control-Request-Method: POST", method="OPTIONS"),
            post(CHAT, b"{}", *headers, *PAGES[page]),
            form,
        ):
            answer = say(where, data)
            assert answer is not None and answer.status == 403
            assert answer.error["code"] == "origin_not_allowed"
            assert "access-control-allow-origin" not in answer.headers


def test_n4_a_form_without_an_origin_is_no_request(service: Running) -> None:
    for kind in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data"):
        answer = say(service, request(CHAT, f"Content-Type: {kind}", "Content-Length: 2", method="POST") + b"{}")
        assert answer is not None and answer.status == 415


def test_n5_a_name_that_was_bound_to_this_machine_is_refused(service: Running) -> None:
    port = service.connection.port
    for fetched in (["Sec-Fetch-Site: same-origin"], [f"Origin: http://evil.example:{port}"]):
        answer = say(service, request("/v1/models", *fetched, host=f"evil.example:{port}"))
        assert answer is not None and answer.status == 403
    answer = say(service, request("/v1/models", host=f"evil.example:{port}"))
    assert answer is not None and answer.status == 421


# ---- N6: a changed token


@pytest.mark.slow
def test_n6_a_new_start_has_a_new_token() -> None:
    with running() as first:
        old = first.connection.admin_key
        first.terminate()
    with running() as second:
        assert second.connection.admin_key != old
        with second.client() as client:
            assert client.get("/admin/status", headers=bearer(old)).status_code == 401
            assert client.get("/admin/status", headers=second.admin).status_code == 200
