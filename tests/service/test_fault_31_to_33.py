"""Clients that read or write too slowly, and bytes that are not quite HTTP."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from pathlib import Path

import pytest

from tests.service.running import Running, wait_for
from tests.service.teammates import new_key
from tests.service.wire_client import Wire, post, request, say

CHAT = "/v1/chat/completions"
QUESTION = {"model": "demo", "messages": [{"role": "user", "content": "What is 39 + 48?"}], "temperature": 0}
#: Some kilobytes a token, so that what is not read adds up.
WORDY = {
    "model": "demo", "messages": [{"role": "user", "content": "Tell me a story."}], "stream": True,
    "logprobs": True, "top_logprobs": 20, "ignore_eos": True, "max_tokens": 1500,
}  # fmt: skip


def _resident(service: Running) -> int:
    line = next(x for x in Path(f"/proc/{service.process.pid}/status").read_text().splitlines() if "VmRSS" in x)
    return int(line.split()[1]) * 1024


def _in_flight(service: Running) -> int:
    with service.client(headers=service.admin) as client:
        return client.get("/admin/status").json()["in_flight"]


def _answers(service: Running) -> bool:
    with service.client(headers=service.admin) as client:
        answer = client.post(CHAT, json=QUESTION)
        return answer.status_code == 200 and answer.json()["choices"][0]["message"]["content"] == "87"


@pytest.mark.slow
def test_fault_31_a_hundred_that_never_read_are_left_and_nobody_else_notices(guarded: Running) -> None:
    key = f"x-api-key: {new_key(guarded)}"
    before = _resident(guarded)
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            wire = stack.enter_context(Wire(guarded, receive_buffer=4096))
            wire.send(post(CHAT, json.dumps(WORDY).encode(), key))
        most = 0
        for _ in range(3):
            assert _answers(guarded)
            most = max(most, _resident(guarded))
        wait_for(lambda: _in_flight(guarded) == 0, 60)
        most = max(most, _resident(guarded))
    assert most - before < 100 * 2**20
    assert _answers(guarded)


def test_fault_31_a_reader_of_a_byte_a_second_is_left(guarded: Running) -> None:
    with Wire(guarded, receive_buffer=4096) as wire:
        wire.send(post(CHAT, json.dumps(WORDY).encode(), f"x-api-key: {new_key(guarded)}"))
        deadline = time.monotonic() + 30
        while _in_flight(guarded):
            assert time.monotonic() < deadline
            wire.socket.recv(1)
            time.sleep(0.5)


def test_fault_31_unread_tokens_end_a_request_and_not_the_engine(guarded: Running) -> None:
    """Four sequences leave more tokens unread than may wait, before the connection is given up."""
    with Wire(guarded, receive_buffer=4096) as wire:
        body = json.dumps(WORDY | {"n": 4}).encode()
        wire.send(post(CHAT, body, f"x-api-key: {new_key(guarded)}"))
        wait_for(lambda: _in_flight(guarded) == 0, 60)
    assert _answers(guarded)


def test_fault_31_a_slow_reader_that_does_read_gets_everything(guarded: Running) -> None:
    with Wire(guarded, receive_buffer=4096) as wire:
        wire.send(post(CHAT, json.dumps(WORDY | {"max_tokens": 120}).encode(), f"x-api-key: {new_key(guarded)}"))
        got = b""
        while not got.endswith(b"0\r\n\r\n"):
            data = wire.socket.recv(8192)
            assert data
            got += data
            time.sleep(0.02)
    assert b"data: [DONE]" in got


# ---- 32: slow writers


def test_fault_32_slow_headers_and_bodies_are_closed_and_others_served(guarded: Running) -> None:
    head = request(CHAT, "Content-Type: application/json", "Content-Length: 5000",
                   f"x-api-key: {new_key(guarded)}", method="POST")  # fmt: skip
    with contextlib.ExitStack() as stack:
        headers = [stack.enter_context(Wire(guarded)).send(b"GET /health HTTP/1.1\r\n") for _ in range(50)]
        bodies = [stack.enter_context(Wire(guarded)).send(head) for _ in range(50)]
        silent = [stack.enter_context(Wire(guarded)) for _ in range(20)]
        ending = threading.Event()
        dripping = threading.Thread(target=_drip, args=(headers, bodies, ending))
        dripping.start()
        try:
            times = []
            for _ in range(10):
                started = time.perf_counter()
                assert _answers(guarded)
                times.append(time.perf_counter() - started)
            answers = [wire.answer() for wire in (*headers, *bodies)]
        finally:
            ending.set()
            dripping.join()
        assert {answer.status for answer in answers if answer} == {408}
        assert all(wire.is_closed() for wire in (*headers, *bodies, *silent))
        assert max(times) < 2
    assert _in_flight(guarded) == 0


def _drip(headers: list[Wire], bodies: list[Wire], ending: threading.Event) -> None:
    """A byte now and then."""
    while not ending.wait(0.3):
        for wire, data in [*((w, b"X: a\r\n") for w in headers), *((w, b" ") for w in bodies)]:
            with contextlib.suppress(OSError):
                wire.socket.send(data)


def test_fault_32_an_idle_connection_is_closed_without_a_word(guarded: Running) -> None:
    with Wire(guarded) as wire:
        answer = wire.send(request("/health")).answer()
        assert answer is not None and answer.status == 200
        assert wire.answer() is None


# ---- 33: not quite HTTP

H = b"Host: localhost\r\n"
POST = b"POST /health HTTP/1.1\r\n" + H
BROKEN = {
    "length and chunks": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "the same length twice": POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "a length with a sign": POST + b"Content-Length: +5\r\n\r\nhello",
    "a length that overflows": POST + b"Content-Length: 99999999999999999999\r\n\r\n",
    "a list of lengths": POST + b"Content-Length: 5, 5\r\n\r\nhello",
    "another coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked, then another": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunks in HTTP/1.0": b"POST /health HTTP/1.0\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a bare LF after the first line": b"GET /health HTTP/1.1\nHost: localhost\r\n\r\n",
    "a bare LF after a header": b"GET /health HTTP/1.1\r\nHost: localhost\nX: y\r\n\r\n",
    "bare LFs": b"GET /health HTTP/1.1\nHost: localhost\n\n",
    "a bare LF in chunks": b"POST /version HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n",
    "a blank before the colon": b"GET /health HTTP/1.1\r\nHost : localhost\r\n\r\n",
    "a folded header": b"GET /health HTTP/1.1\r\n" + H + b"X: a\r\n b\r\n\r\n",
    "a NUL": b"GET /health HTTP/1.1\r\n" + H + b"X: a\x00b\r\n\r\n",
    "HTTP/0.9": b"GET /health\r\n\r\n",
    "HTTP/0.9, bare LF": b"GET /health\n\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/3.0": b"GET /health HTTP/3.0\r\n" + H + b"\r\n",
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a target in UTF-8": "GET /é HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(),
    "CONNECT": b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n",
    "a method of its own": b"HELLO /health HTTP/1.1\r\n" + H + b"\r\n",
    "a chunk that is no number": b"POST /version HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_fault_33_what_is_not_quite_http_is_refused_and_closed(service: Running, name: str) -> None:
    with Wire(service) as wire:
        answer = wire.send(BROKEN[name]).answer()
        assert answer is None or answer.status == 400
        if answer is not None:
            assert answer.error["type"] == "invalid_request_error"
            assert wire.answer() is None
    assert "Traceback" not in service.log


def test_fault_33_what_follows_a_refused_request_is_not_taken_for_a_request(service: Running) -> None:
    for broken in ("length and chunks", "two lengths", "another coding", "a bare LF after a header"):
        with Wire(service) as wire:
            answers = [wire.send(BROKEN[broken] + request("/version")).answer(), wire.answer()]
            assert [answer and answer.status for answer in answers] == [400, None], broken


def test_fault_33_pipelined_requests_are_answered_in_order(service: Running) -> None:
    with Wire(service) as wire:
        wire.send(post(CHAT, json.dumps(QUESTION).encode()) + request("/version") + request("/nowhere") + request())
        answers = [wire.answer() for _ in range(4)]
        assert [answer and answer.status for answer in answers] == [200, 200, 404, 200]
        assert answers[0] is not None and b"87" in answers[0].body


def test_fault_33_a_broken_request_behind_a_good_one_does_not_spoil_its_answer(service: Running) -> None:
    with Wire(service) as wire:
        wire.send(post(CHAT, json.dumps(QUESTION).encode()) + b"GET /version HTTP/9.9\r\n\r\n")
        answer = wire.answer()
        assert answer is not None and answer.status == 200 and b"87" in answer.body
        assert wire.answer() is None


def test_fault_33_more_pipelined_requests_than_anybody_sends_end_the_connection(service: Running) -> None:
    with Wire(service) as wire:
        wire.send(post(CHAT, json.dumps(QUESTION).encode()) + request("/version") * 200)
        count = 0
        while (answer := wire.answer()) is not None:
            assert answer.status == 200
            count += 1
        assert 1 <= count <= 18


def test_fault_33_a_client_that_leaves_while_requests_are_pipelined_frees_the_engine(guarded: Running) -> None:
    key = f"x-api-key: {new_key(guarded)}"
    whole = json.dumps(WORDY | {"stream": False}).encode()
    with Wire(guarded) as wire:
        wire.send(post(CHAT, whole, key) + request("/health"))
        wait_for(lambda: _in_flight(guarded) == 1, 10)
    wait_for(lambda: _in_flight(guarded) == 0, 5)


def test_fault_33_trailers_are_no_headers(guarded: Running) -> None:
    key = new_key(guarded)
    head = request("/v1/models", "Transfer-Encoding: chunked")
    answer = say(guarded, head + f"0\r\nx-api-key: {key}\r\n\r\n".encode())
    assert answer is not None and answer.status == 401


def test_fault_33_expect_100_continue(guarded: Running) -> None:
    body = json.dumps(QUESTION).encode()
    data = post(CHAT, body, "Expect: 100-continue", f"x-api-key: {new_key(guarded)}")
    with Wire(guarded) as wire:
        wire.send(data[: -len(body)])
        assert wire.socket.recv(64).startswith(b"HTTP/1.1 100 ")
        answer = wire.send(body).answer()
        assert answer is not None and answer.status == 200
    with Wire(guarded) as wire:  # refused before its body: what comes next must not be read as one
        wire.send(post(CHAT, body, "Expect: 100-continue")[: -len(body)])
        answer = wire.answer()
        assert answer is not None and answer.status == 401
        assert wire.answer() is None


def test_fault_33_h2c_upgrades_are_answered_in_http_1(service: Running) -> None:
    upgrade = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
    with Wire(service) as wire:
        answer = wire.send(post(CHAT, json.dumps(QUESTION).encode(), *upgrade)).answer()
        assert answer is not None and answer.status == 200 and b"87" in answer.body
        answer = wire.send(request("/version", *upgrade) + request("/version")).answer()
        assert answer is not None and answer.status == 200
        answer = wire.answer()
        assert answer is not None and answer.status == 200


def test_fault_33_half_of_a_request_and_a_reset_leave_nothing(service: Running) -> None:
    for data in (b"GET", request()[:-2], post(CHAT, b"{}")[:-1]):
        with Wire(service) as wire:
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            wire.send(data)
    assert _answers(service)
    assert "Traceback" not in service.log
