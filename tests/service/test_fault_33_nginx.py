"""Streams, pipelining and what is not quite HTTP, through a real nginx that keeps its connections to the service."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx2
import pytest

from tests.service.nginx import nginx_before
from tests.service.running import Running, wait_for
from tests.service.test_fault_31_to_33 import BROKEN, CHAT, QUESTION
from tests.service.wire_client import Wire, post, request

STORY = {"model": "demo", "messages": [{"role": "user", "content": "Tell me a story."}], "temperature": 0}


@pytest.fixture(scope="module")
def nginx(service: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with nginx_before(service.connection.port, tmp_path_factory.mktemp("nginx")) as port:
        yield port


def _client(port: int) -> httpx2.Client:
    return httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False)


def _in_flight(service: Running) -> int:
    with service.client(headers=service.admin) as client:
        return client.get("/admin/status").json()["in_flight"]


def test_fault_33_nginx_passes_on_a_stream_as_it_comes_and_that_its_reader_left(service: Running, nginx: int) -> None:
    endless = STORY | {"stream": True, "max_tokens": 1500, "ignore_eos": True}
    with _client(nginx) as client, client.stream("POST", CHAT, json=endless) as answer:
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        lines = answer.iter_lines()
        assert next(lines).startswith("data: ")
        assert _in_flight(service) == 1  # nginx did not wait for the end
    wait_for(lambda: _in_flight(service) == 0, 5)


def test_fault_33_a_stream_through_nginx_is_whole(service: Running, nginx: int) -> None:
    question = STORY | {"stream": True, "max_tokens": 60}
    with service.client() as direct, _client(nginx) as client:
        texts = [_text(asked.post(CHAT, json=question).text) for asked in (direct, client)]
    assert texts[0] == texts[1] != ""


def _text(stream: str) -> str:
    events = [line.removeprefix("data: ") for line in stream.splitlines() if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    choices = [choice for event in events[:-1] for choice in json.loads(event)["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def test_fault_33_pipelined_requests_are_answered_in_order_through_nginx(nginx: int) -> None:
    wanted = [f"id-{number}" for number in range(6)]
    with Wire(nginx) as wire:
        wire.send(b"".join(request("/version", f"x-request-id: {name}") for name in wanted))
        answers = [wire.answer() for _ in wanted]
    assert [answer and answer.headers["x-request-id"] for answer in answers] == wanted


#: What nginx reads generously and passes on as a proper request, or refuses without closing.
_KEPT = {
    "a bare LF after the first line", "a bare LF after a header", "bare LFs", "a bare LF in chunks",
    "a target in UTF-8", "a method of its own",
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in BROKEN if "HTTP/0.9" not in name])
def test_fault_33_what_is_not_quite_http_does_not_get_between_the_requests_of_others(
    service: Running, nginx: int, name: str
) -> None:
    """A request stands behind it: answered to who sent it or to nobody."""
    with Wire(nginx) as wire:
        wire.send(BROKEN[name] + request("/version", "x-request-id: behind"))
        answer, behind = wire.answer(), wire.answer()
    assert answer is not None
    if name in _KEPT:
        assert answer.status in (200, 400, 405)
        assert behind is not None and behind.headers["x-request-id"] == "behind"
    else:
        assert answer.status in (400, 501, 505) and behind is None
    _others_get_their_own(nginx)
    assert "Traceback" not in service.log


@pytest.mark.parametrize("name", [name for name in BROKEN if "HTTP/0.9" in name])
def test_fault_33_http_0_9_is_refused_and_closed_through_nginx(nginx: int, name: str) -> None:
    with Wire(nginx) as wire, wire.send(BROKEN[name] + request("/version")).socket.makefile("rb") as answer:
        assert json.loads(answer.read())["error"]["message"] == "one Host header is needed, 0 came"
    _others_get_their_own(nginx)


def test_fault_33_a_hidden_request_in_a_body_is_a_body(nginx: int) -> None:
    hidden = request("/version", "x-request-id: hidden")
    with Wire(nginx) as wire:
        answer = wire.send(post(CHAT, json.dumps(QUESTION).encode() + hidden)).answer()
        assert answer is not None and answer.status == 400
    _others_get_their_own(nginx)


def _others_get_their_own(port: int) -> None:
    """Over each connection that nginx keeps, and more than once."""
    with _client(port) as client:
        for number in range(6):
            answer = client.get("/version", headers={"x-request-id": f"other-{number}"})
            assert (answer.status_code, answer.headers["x-request-id"]) == (200, f"other-{number}")
