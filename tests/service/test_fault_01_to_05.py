"""Bodies and headers that are not what a request should have."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import httpx2
import pytest

from aphrodite.service.access import Access
from aphrodite.service.app import ENDPOINTS
from tests.service.running import Running
from tests.service.wire_client import Wire, post, request, say

BODIES = sorted({e.path for e in ENDPOINTS if e.method == "POST" and e.request is not None and "{" not in e.path})
ADMIN = {e.path for e in ENDPOINTS if e.access is Access.ADMIN}
CHAT = "/v1/chat/completions"
JSON = {"content-type": "application/json"}


def _headers(service: Running, path: str) -> dict[str, str]:
    return JSON | (service.admin if path in ADMIN else {})


@pytest.mark.parametrize("path", BODIES)
def test_fault_01_what_is_no_json_object_is_refused_on_every_route(
    service: Running, http: httpx2.Client, path: str
) -> None:
    for body in (b"", b"{", b'{"model": }', b"null", b"[]", b'"x"', b"1", b"\xff\xfe", b"{}{}", b"NaN"):
        answer = http.post(path, content=body, headers=_headers(service, path))
        assert answer.status_code == 400, (body, answer.text)
        assert sorted(answer.json()["error"]) == ["code", "message", "param", "type"]
        assert "Traceback" not in answer.text and "/work" not in answer.text


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None])
def test_fault_02_other_content_types_are_refused(
    service: Running, http: httpx2.Client, path: str, kind: str | None
) -> None:
    headers = _headers(service, path)
    del headers["content-type"]
    answer = http.post(path, content=b"{}", headers=headers | ({"content-type": kind} if kind else {}))
    assert answer.status_code == 415
    assert answer.json()["error"]["code"] == "unsupported_media_type"


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
@pytest.mark.parametrize("field", [b"messages", b"nobody_knows"])
def test_fault_03_deep_nesting_is_refused_quickly(http: httpx2.Client, opening: bytes, field: bytes) -> None:
    body = b'{"model": "demo", "messages": [], "%s": ' % field + opening * 10**5
    times = []
    for _ in range(3):
        started = time.perf_counter()
        answer = http.post(CHAT, content=body, headers=JSON)
        times.append(time.perf_counter() - started)
        assert answer.status_code == 400
    assert min(times) < 0.1


def test_fault_04_a_body_over_the_limit_is_refused_and_not_kept(guarded: Running) -> None:
    head = request(CHAT, "Content-Type: application/json", "Transfer-Encoding: chunked", _key(guarded), method="POST")
    chunk = b"%x\r\n" % 2**16 + b"x" * 2**16 + b"\r\n"
    statuses, before = [], 0
    for number in range(6):
        with Wire(guarded) as wire:
            wire.send(head)
            with contextlib.suppress(ConnectionError):  # it stops reading
                for _ in range(64 * 16):
                    wire.send(chunk)
            answer = wire.answer()
            assert answer is not None
            statuses.append(answer.status)
            assert answer.error["code"] == "request_too_large"
        if number == 0:
            before = _resident(guarded)
    assert statuses == [413] * 6
    assert _resident(guarded) - before < 8 * 2**20


def test_fault_04_an_announced_length_over_the_limit_is_refused_without_the_body(guarded: Running) -> None:
    head = request(CHAT, "Content-Type: application/json", "Content-Length: 99999999999", _key(guarded), method="POST")
    answer = say(guarded, head)
    assert answer is not None and answer.status == 413


def test_fault_04_a_refused_body_does_not_cost_the_connection_while_it_is_short(guarded: Running) -> None:
    with Wire(guarded) as wire:
        wire.send(post(CHAT, b"x" * 200_000))  # without a key
        answer = wire.answer()
        assert answer is not None and answer.status == 401
        answer = wire.send(request("/health")).answer()
        assert answer is not None and answer.status == 200


@pytest.mark.parametrize(
    "headers",
    [
        ["X: " + "a" * 65536],
        [f"X-{i}: a" for i in range(10**4)],
        [f"X-{i}: " + "a" * 400 for i in range(90)],
        ["X" * 65536 + ": a"],
    ],
    ids=["one of 64 kB", "ten thousand", "many large", "a long name"],
)
def test_fault_05_large_and_many_headers_are_refused(service: Running, headers: list[str]) -> None:
    answer = say(service, request("/health", *headers))
    assert answer is not None and answer.status == 431
    assert answer.error["code"] == "headers_too_large"
    assert answer.headers["connection"] == "close" and answer.headers["x-request-id"]


def test_fault_05_a_header_that_never_ends_is_cut(service: Running) -> None:
    with Wire(service) as wire:
        wire.send(b"GET /health HTTP/1.1\r\nX: ")
        with contextlib.suppress(ConnectionError):
            for _ in range(2**10):
                wire.send(b"a" * 1024)
        answer = wire.answer()
        assert answer is not None and answer.status == 431


def test_fault_05_a_long_target_is_refused(service: Running) -> None:
    answer = say(service, request("/v1/models?" + "a" * 70_000))
    assert answer is not None and answer.status == 431


def test_fault_01_to_05_leave_a_service_that_answers(service: Running, http: httpx2.Client) -> None:
    assert http.get("/health").status_code == 200
    assert "Traceback" not in service.log


def _key(service: Running) -> str:
    return f"x-api-key: {service.connection.admin_key}"


def _resident(service: Running) -> int:
    line = next(x for x in Path(f"/proc/{service.process.pid}/status").read_text().splitlines() if "VmRSS" in x)
    return int(line.split()[1]) * 1024
