"""FAULTS 43: what a request says reaches logs and metrics as harmless text, and never as a series of its own."""

from __future__ import annotations

import http.client
import json
import socket

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.service.running import Running

EVIL = 'x\r\n{"level":"error"}\n\x1b[2J\x1b]0;owned\x07\x7f\x9b31m\u2028\u202e'
QUESTION = [{"role": "user", "content": "What is 39 + 48?"}]


def series(service: Running) -> int:
    with service.client() as client:
        families = text_string_to_metric_families(client.get("/metrics").text)
        return sum(len(family.samples) for family in families)


def raw(service: Running, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", service.connection.port), timeout=10) as connection:
        connection.sendall(request)
        return connection.recv(65536)


def assert_log_is_clean(service: Running) -> None:
    """Every line a JSON object, and nothing in it that a terminal obeys."""
    text = service.log
    assert not any(not c.isprintable() for c in text if c != "\n")
    for line in text.splitlines():
        assert {"time", "level", "logger", "message"} <= json.loads(line).keys()


def test_fault_43_control_characters_reach_neither_log_nor_metrics(service: Running, http: httpx2.Client) -> None:
    http.post("/v1/chat/completions", json={"model": EVIL, "messages": QUESTION})
    http.post("/v1/chat/completions", json={"model": "demo", "messages": QUESTION, "max_tokens": 1, "user": EVIL})
    http.get("/v1/models/" + "%0d%0aINJECTED%1b[31m%c2%9b%e2%80%ae")
    http.get("/nowhere%0a%0aaphrodite_evil_total%201")
    http.get("/health", headers={"x-request-id": "a b\tc"})
    raw(service, b"GET /\x1b[31mred HTTP/1.1\r\nhost: 127.0.0.1\r\nx-request-id: \x1b[31m\r\nconnection: close\r\n\r\n")
    raw(service, b"GET /caf\xe9\xff HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
    assert_log_is_clean(service)
    text = http.get("/metrics").text
    assert "INJECTED" not in text and "evil" not in text and "owned" not in text
    assert all(c.isprintable() or c == "\n" for c in text)
    assert http.post("/v1/chat/completions", json={"model": "demo", "messages": QUESTION}).status_code == 200


def test_fault_43_a_model_s_own_name_cannot_inject(service: Running) -> None:
    with service.client(headers=service.admin) as admin:
        load = {"model": "demo", "names": [EVIL], "engine": {"kv_cache_memory": 2**24}}
        answer = admin.post("/admin/load", json=load)
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == "names"
        assert answer.json()["error"]["message"].isprintable()
        for name in ("", " demo2", "a\tb", "x" * 201, "\u202edemo"):
            answer = admin.post("/admin/load", json=load | {"names": ["fine", name]})
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, "names"), name
        assert [model["id"] for model in admin.get("/admin/status").json()["models"]] == ["demo"]
    assert_log_is_clean(service)


@pytest.mark.slow
def test_fault_43_ten_thousand_names_and_paths_make_no_series(service: Running) -> None:
    series(service)
    connection = http.client.HTTPConnection("127.0.0.1", service.connection.port, timeout=30)

    def send(method: str, path: str, body: str | None = None) -> int:
        connection.request(method, path, body, {"content-type": "application/json"} if body else {})
        answer = connection.getresponse()
        answer.read()
        return answer.status

    def round_of(numbers: range) -> None:
        for number in numbers:
            assert send("GET", f"/v1/models/model-{number}") == 404
            assert send("GET", f"/path-{number}/of-{number}") == 404
            body = json.dumps({"model": f"model-{number}", "messages": QUESTION, "user": f"user-{number}"})
            assert send("POST", "/v1/chat/completions", body) == 404

    round_of(range(1))
    before = series(service)
    round_of(range(1, 3334))
    connection.close()
    # Nothing new but counts; a bucket's histogram is one series however much falls into it.
    assert series(service) == before
