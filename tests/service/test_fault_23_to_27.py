"""Credentials, names and targets that try to get around the gate."""

from __future__ import annotations

import contextlib
import random
import socket
import statistics
import time
from pathlib import Path

import httpx2
import pytest

from aphrodite.service.access.accounts import Accounts
from aphrodite.service.access.keys import KeyStore
from aphrodite.service.app import ENDPOINTS
from tests.service.running import Running
from tests.service.teammates import bearer, new_key, store
from tests.service.wire_client import Wire, request, say

CHAT = "/v1/chat/completions"
QUESTION = {"model": "demo", "messages": [{"role": "user", "content": "What is 39 + 48?"}], "max_tokens": 4}


def test_fault_23_addresses_in_a_request_are_not_called(http: httpx2.Client) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as canary:
        url = f"http://127.0.0.1:{canary.getsockname()[1]}/v1"
        headers = {
            "x-forwarded-for": "203.0.113.9", "x-forwarded-host": f"127.0.0.1:{canary.getsockname()[1]}",
            "x-forwarded-proto": "https", "x-forwarded-prefix": url, "x-original-url": url, "x-rewrite-url": url,
        }  # fmt: skip
        answer = http.post(CHAT, json=QUESTION | {"api_base": url, "base_url": url}, headers=headers)
        assert answer.status_code == 200
        assert answer.headers["x-ignored-params"] == "api_base,base_url"
        canary.settimeout(0.2)
        with pytest.raises(TimeoutError):
            canary.accept()


CREDENTIALS = {
    "none": [],
    "empty": ["Authorization:"],
    "Bearer and nothing": ["Authorization: Bearer"],
    "Bearer and blanks": ["Authorization: Bearer    "],
    "no scheme": ["Authorization: {key}"],
    "another scheme": ["Authorization: Basic {key}"],
    "wrong": ["Authorization: Bearer aph_" + "0" * 40],
    "upper-case": ["Authorization: Bearer {KEY}"],
    "too long": ["Authorization: Bearer {key}0"],
    "too short": ["Authorization: Bearer {key:.43}"],
    "two keys in one": ["Authorization: Bearer {key} {key}"],
    "the same twice": ["Authorization: Bearer {key}", "Authorization: Bearer {key}"],
    "right and wrong": ["Authorization: Bearer {key}", "Authorization: Bearer wrong"],
    "two kinds that differ": ["Authorization: Bearer {key}", "x-api-key: wrong"],
    "empty x-api-key": ["x-api-key:"],
    "as a cookie": ["Cookie: api_key={key}; session={key}"],
    "a word for no key": ["Authorization: Bearer none"],
    "not ASCII": ["Authorization: Bearer \xe9\xff"],
    "proxy's": ["Proxy-Authorization: Bearer {key}", "x-forwarded-for: 127.0.0.1", "forwarded: for=127.0.0.1"],
}


@pytest.mark.parametrize("name", CREDENTIALS)
def test_fault_24_what_is_no_key_is_refused(guarded: Running, name: str) -> None:
    key = new_key(guarded)
    headers = [line.format(key=key, KEY=key.upper()) for line in CREDENTIALS[name]]
    for target in ("/v1/models", "/nowhere", "/admin/status", f"/v1/models?api_key={key}&key={key}&token={key}"):
        answer = say(guarded, request(target, *headers))
        assert answer is not None and answer.status == 401, (name, target)
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.error["type"] == "authentication_error"
        assert key not in str(answer)


TARGETS = (
    *(
        "/",
        "/nowhere",
        "//v1/models",
        "/v1//models",
        "/v1/models/",
        "/v1/./models",
        "/v1/../v1/models",
        "/%2e/v1/models",
    ),
    *("/v1%2fmodels", "/V1/MODELS", "/health/", "//health", "/health/..", "/health%00", "/health;x", "/%68ealth/x"),
    *("/metrics", "/docs", "/openapi.json", "/version", "/v1/models%20", "/health/../v1/models", "/v1/models#health"),
)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"])
def test_fault_24_every_target_and_method_asks_for_a_key(guarded: Running, method: str) -> None:
    paths = {endpoint.path.replace("{model:path}", "demo").replace("{name}", "x") for endpoint in ENDPOINTS}
    for target in sorted({*TARGETS, *paths} - {"/health"}):
        with Wire(guarded) as wire:
            head = wire.send(request(target, method=method)).answer if method != "HEAD" else None
            if head is None:
                wire.send(request(target, method=method))
                assert wire.socket.recv(12) == b"HTTP/1.1 401", (method, target)
            else:
                answer = head()
                assert answer is not None and answer.status == 401, (method, target)


def test_fault_24_a_web_socket_asks_for_a_key(guarded: Running) -> None:
    upgrade = [
        "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ]  # fmt: skip
    for target in ("/v1/models", "/v1/realtime", "/"):
        answer = say(guarded, request(target, *upgrade))
        assert answer is not None and answer.status == 401
    answer = say(guarded, request("/v1/models", *upgrade, f"x-api-key: {new_key(guarded)}"))
    assert answer is not None and answer.status == 200  # no such protocol here: answered as if it had not asked


@pytest.mark.parametrize("host", ["a/b?", "a#", "a b", "", "a@b", "a:b", "a:99999", "[::1", "a\\b", "a,b", "é", "%61"])
def test_fault_25_a_host_that_is_none_is_refused(service: Running, host: str) -> None:
    for target in ("/v1/models", "/health", "/nowhere"):
        answer = say(service, request(target, host=host))
        assert answer is not None and answer.status == 400
        assert answer.error["code"] == "invalid_host"


@pytest.mark.parametrize("lines", [(), ("Host: localhost", "Host: localhost"), ("Host: localhost", "Host: evil")])
def test_fault_25_there_is_one_host(service: Running, lines: tuple[str, ...]) -> None:
    answer = say(service, request("/v1/models", *lines, host=None))
    assert answer is not None and answer.status == 400


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "0.0.0.0", "127.1", "2130706433"]
)
def test_fault_25_a_foreign_host_is_refused_with_and_without_a_key(service: Running, host: str) -> None:
    for target in ("/v1/models", "/health", "/nowhere"):
        for headers in ((), (f"x-api-key: {service.connection.admin_key}",)):
            answer = say(service, request(target, *headers, host=host))
            assert answer is not None and answer.status == 421
            assert answer.error["code"] == "host_not_allowed"


def test_fault_25_a_target_with_a_host_has_the_same_verdict(guarded: Running) -> None:
    key = f"x-api-key: {new_key(guarded)}"

    def status(target: str, *headers: str, host: str = "localhost") -> int:
        answer = say(guarded, request(target, *headers, host=host))
        assert answer is not None
        return answer.status

    assert status("http://localhost/v1/models", key) == 200
    assert status("http://localhost/v1/models") == 401
    assert status("http://localhost/health") == 200
    assert status("http://evil.example/v1/models", key, host="evil.example") == 421
    for target in ("http://evil.example/v1/models", "http://localhost@evil/v1/models", "http://localhost", "*", "x"):
        assert status(target, key) == 400, target


def test_fault_26_a_nearly_right_key_takes_no_longer(tmp_path: Path) -> None:
    """10⁵ tries in pairs: a key that differs in its last character, and one that differs in all of them."""
    keys = KeyStore(tmp_path / "keys.sqlite")
    good = keys.add("dana")
    accounts = Accounts(keys, "admin-key")
    near = (good[:-1] + ("0" if good[-1] != "0" else "1")).encode()
    far = ("aph_" + "".join(random.Random(7).choices("0123456789abcdef", k=40))).encode()

    def is_significant() -> bool:
        differences = []
        for number in range(50_000):
            first, second = (near, far) if number % 2 else (far, near)
            t0 = time.perf_counter_ns()
            accounts.find(first)
            t1 = time.perf_counter_ns()
            accounts.find(second)
            t2 = time.perf_counter_ns()
            differences.append((t1 - t0) - (t2 - t1) if number % 2 else (t2 - t1) - (t1 - t0))
        differences.sort()
        kept = differences[5_000:-5_000]  # the machine does other things now and then
        mean, error = statistics.fmean(kept), statistics.stdev(kept) / len(kept) ** 0.5
        return abs(mean) > 4 * error and abs(mean) > 20  # nanoseconds

    assert not all(is_significant() for _ in range(3))


NAUGHTY = ("'; DROP TABLE keys; --", "' OR 1=1--", '" OR ""="', "%' UNION SELECT digest FROM keys --", "x\\'; --")


@pytest.mark.parametrize("text", NAUGHTY)
def test_fault_27_sql_in_a_request_is_text(guarded: Running, text: str) -> None:
    before = store(guarded).all()
    key = new_key(guarded)
    with guarded.client() as client:
        assert client.get("/v1/models", headers=bearer(text)).status_code == 401
        assert client.get("/v1/models", headers={"x-api-key": text}).status_code == 401
        assert client.post(CHAT, json=QUESTION | {"model": text}, headers=bearer(key)).status_code == 404
        fields = {"user": text, "metadata": {"session_id": text, "a": text}, "session_id": text}
        answer = client.post(CHAT, json=QUESTION | fields, headers=bearer(key))
        assert answer.status_code in (200, 400) and "sql" not in answer.text.lower()
        made = client.post("/admin/keys", json={"name": text}, headers=guarded.admin)
        assert made.status_code == 400
        assert client.delete("/admin/keys/" + text.replace("%", "%25"), headers=guarded.admin).status_code == 404
    assert {k.name for k in before} < {k.name for k in store(guarded).all()}
    assert "Traceback" not in guarded.log
