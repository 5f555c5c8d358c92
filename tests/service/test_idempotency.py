"""`Idempotency-Key`: what is sent twice is done once."""

from __future__ import annotations

import secrets
import threading

import httpx2
import pytest

from aphrodite.service.errors import ApiError
from aphrodite.service.http.idempotency import Name, Repeats
from aphrodite.service.http.replies import Reply
from tests.service.running import Running, wait_for

STORY = {"model": "demo", "messages": [{"role": "user", "content": "Tell me a story about a fox named Pip."}]}
NAME: Name = ("local", "/v1/x", "key")


def new_key() -> dict[str, str]:
    return {"idempotency-key": secrets.token_hex(8)}


def test_the_same_request_gets_the_same_answer(http: httpx2.Client) -> None:
    key = new_key()
    first, again = (http.post("/v1/chat/completions", json=STORY | {"max_tokens": 5}, headers=key) for _ in range(2))
    assert again.content == first.content  # its id and seed were drawn once
    assert again.headers["idempotency-replayed"] == "true" and "idempotency-replayed" not in first.headers
    assert again.headers["x-request-id"] != first.headers["x-request-id"]


def test_another_body_under_the_same_key_is_refused(http: httpx2.Client) -> None:
    key = new_key()
    http.post("/v1/chat/completions", json=STORY | {"max_tokens": 5}, headers=key)
    answer = http.post("/v1/chat/completions", json=STORY | {"max_tokens": 6}, headers=key)
    assert answer.status_code == 422 and answer.json()["error"]["code"] == "idempotency_key_reused"


def test_the_same_key_on_another_route_is_another_request(http: httpx2.Client) -> None:
    key = new_key()
    http.post("/v1/chat/completions", json=STORY | {"max_tokens": 5}, headers=key)
    assert http.post("/tokenize", json={"prompt": "a"}, headers=key).status_code == 200


def test_an_error_is_not_kept(http: httpx2.Client) -> None:
    key = new_key()
    for _ in range(2):
        answer = http.post("/v1/chat/completions", json=STORY | {"max_tokens": -1}, headers=key)
        assert answer.status_code == 400 and "idempotency-replayed" not in answer.headers


def test_a_stream_runs_again(http: httpx2.Client) -> None:
    key = new_key()
    texts = [
        http.post("/v1/chat/completions", json=STORY | {"max_tokens": 5, "stream": True}, headers=key).text
        for _ in range(2)
    ]
    assert all(text.endswith("data: [DONE]\n\n") for text in texts) and texts[0] != texts[1]


def test_one_that_still_runs_is_waited_for(service: Running, http: httpx2.Client) -> None:
    key, body = new_key(), STORY | {"max_tokens": 300, "ignore_eos": True}
    answers: list[bytes] = []

    def ask() -> None:
        with service.client() as client:
            answers.append(client.post("/v1/chat/completions", json=body, headers=key).content)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 3 and len(set(answers)) == 1


def test_when_the_first_caller_leaves_the_second_gets_its_answer(service: Running) -> None:
    key, body = new_key(), STORY | {"max_tokens": 400, "ignore_eos": True, "seed": 1}
    with service.client() as client, pytest.raises(httpx2.ReadTimeout):
        client.post("/v1/chat/completions", json=body, headers=key, timeout=0.2)
    with service.client() as client:
        answer = client.post("/v1/chat/completions", json=body, headers=key)
    assert answer.status_code == 200 and answer.json()["usage"]["completion_tokens"] == 400


def test_a_waiter_that_leaves_is_forgotten(service: Running, http: httpx2.Client) -> None:
    key, body = new_key(), STORY | {"max_tokens": 600, "ignore_eos": True}
    first = threading.Thread(target=lambda: http.post("/v1/chat/completions", json=body, headers=key))
    first.start()
    with service.client() as client, pytest.raises(httpx2.ReadTimeout):
        client.post("/v1/chat/completions", json=body, headers=key, timeout=0.2)
    first.join()
    with service.client(headers=service.admin) as client:
        wait_for(lambda: client.get("/admin/status").json()["in_flight"] == 0, 10)


@pytest.mark.parametrize("key", ["", "x" * 256, "\x01", "é"])
def test_a_key_that_is_none_is_refused(http: httpx2.Client, key: str) -> None:
    answer = http.post("/tokenize", json={"prompt": "a"}, headers=[(b"idempotency-key", key.encode("latin-1"))])
    assert answer.status_code == 400


# ---- bounds, without a service


def kept(repeats: Repeats, name: Name, body: bytes = b"x") -> None:
    assert repeats.find(name, b"d") is None
    repeats.begin(name, b"d")
    repeats.end(name, Reply(body))


def test_answers_are_forgotten_after_a_while() -> None:
    now = 0.0
    repeats = Repeats(seconds=10, clock=lambda: now)
    kept(repeats, NAME)
    now = 9.9
    assert repeats.find(NAME, b"d") is not None
    now = 10.0
    assert repeats.find(NAME, b"other") is None


def test_answers_are_bounded_in_bytes_and_number() -> None:
    repeats = Repeats(max_bytes=100, max_entries=3)
    names: list[Name] = [("local", "/", str(number)) for number in range(6)]
    for name in names[:5]:
        kept(repeats, name, b"x" * 25)
    assert [repeats.find(name, b"d") is not None for name in names[:5]] == [False, False, True, True, True]
    kept(repeats, names[5], b"x" * 26)  # over a quarter of everything
    assert repeats.find(names[5], b"d") is None


def test_tenants_do_not_meet() -> None:
    repeats = Repeats()
    kept(repeats, NAME)
    assert repeats.find(("other", *NAME[1:]), b"d") is None
    with pytest.raises(ApiError):
        repeats.find(NAME, b"another body")
