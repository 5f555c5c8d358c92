"""How much a key may ask for, whose requests go first, and leases."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import httpx2
import pytest

from aphrodite.service.access.limits import Bucket, Limits, Meter
from aphrodite.service.errors import ApiError
from aphrodite.service.settings import ModelSettings, ServiceSettings
from tests.service.running import DEMO, Running, running, wait_for
from tests.service.teammates import bearer, new_key, new_name, store

SHORT = {"model": "demo", "messages": [{"role": "user", "content": "Hi!"}], "max_tokens": 1}
LONG = SHORT | {"max_tokens": 1500, "ignore_eos": True, "stream": True}
CHAT = "/v1/chat/completions"


def test_a_bucket_gives_a_minute_s_worth_and_refills_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    bucket = Bucket(60)
    for _ in range(60):
        assert bucket.wait() == 0
        bucket.take(1)
    assert bucket.wait() == pytest.approx(1)
    now += 0.5
    assert bucket.wait() == pytest.approx(0.5)
    now += 3600
    bucket.take(75)  # of the 60 that fit in
    assert bucket.wait() == pytest.approx(76 - 60)


def test_a_refused_request_takes_nothing() -> None:
    meter = Meter(Limits(requests_per_minute=5, concurrent=1))
    meter.enter()
    for _ in range(20):
        with pytest.raises(ApiError):
            meter.enter()
    meter.leave()
    meter.enter()
    assert meter.usage.requests == 2


def _refused(answer: httpx2.Response, code: str = "rate_limit_exceeded") -> dict[str, str]:
    assert answer.status_code == 429
    error = answer.json()["error"]
    assert error["type"] == "rate_limit_error" and error["code"] == code
    assert int(answer.headers["retry-after"]) >= 1
    return error


def test_requests_per_minute(guarded: Running) -> None:
    with guarded.client(headers=bearer(new_key(guarded, requests_per_minute=2))) as client:
        assert [client.post(CHAT, json=SHORT).status_code for _ in range(2)] == [200, 200]
        answer = client.post(CHAT, json=SHORT)
        assert "2 requests a minute" in _refused(answer)["message"]
        assert 20 <= int(answer.headers["retry-after"]) <= 30
        assert client.get("/v1/models").status_code == 200  # no work


def test_tokens_per_minute_count_prompts_answers_and_those_of_streams(guarded: Running) -> None:
    with guarded.client(headers=bearer(new_key(guarded, tokens_per_minute=40))) as client:
        with client.stream("POST", CHAT, json=SHORT | {"stream": True, "max_tokens": 60, "ignore_eos": True}) as stream:
            assert stream.status_code == 200
            stream.read()
        assert "40 tokens a minute" in _refused(client.post(CHAT, json=SHORT))["message"]


def test_concurrent_requests(guarded: Running) -> None:
    with guarded.client(headers=bearer(new_key(guarded, concurrent=1))) as client:
        with client.stream("POST", CHAT, json=LONG) as stream:
            lines = stream.iter_lines()  # kept: dropping the generator closes the connection
            next(lines)
            assert "1 requests in flight" in _refused(client.post(CHAT, json=SHORT))["message"]
        wait_for(lambda: client.post(CHAT, json=SHORT).status_code == 200, 10)


def test_a_mistaken_request_does_not_stay_in_flight(guarded: Running) -> None:
    with guarded.client(headers=bearer(new_key(guarded, concurrent=1))) as client:
        for _ in range(3):
            assert client.post(CHAT, json={"model": "demo"}).status_code == 400
        assert client.post(CHAT, json=SHORT).status_code == 200


@pytest.fixture(scope="module")
def narrow() -> Iterator[Running]:
    """One sequence at a time, three requests at most."""
    model = ModelSettings("demo", engine={**DEMO.engine, "max_num_seqs": 1})
    with running(ServiceSettings(models=(model,), queue_limit=3)) as found:
        yield found


class _Asking(threading.Thread):
    """Sends a request and notes when its answer was complete."""

    def __init__(self, service: Running, headers: dict[str, str], body: dict[str, object]) -> None:
        super().__init__()
        self._service, self._headers, self._body = service, headers, body
        self.done = 0.0
        self.start()

    def run(self) -> None:
        with self._service.client(headers=self._headers) as client:
            assert client.post(CHAT, json=self._body).status_code == 200
        self.done = time.monotonic()


def _in_flight(service: Running, client: httpx2.Client) -> int:
    return client.get("/admin/status", headers=service.admin).json()["in_flight"]


def test_the_owner_s_requests_go_before_those_of_keys_and_a_full_queue_says_so(narrow: Running) -> None:
    dana = bearer(new_key(narrow))
    work = SHORT | {"max_tokens": 200, "ignore_eos": True}
    with narrow.client() as client, client.stream("POST", CHAT, json=LONG) as stream:
        lines = stream.iter_lines()
        next(lines)
        guest = _Asking(narrow, dana, work)
        wait_for(lambda: _in_flight(narrow, client) == 2, 10)
        owner = _Asking(narrow, {}, work)
        wait_for(lambda: _in_flight(narrow, client) == 3, 10)
        _refused(client.post(CHAT, json=SHORT), "queue_full")
        stream.close()
        owner.join(30)
        guest.join(30)
    assert 0 < owner.done < guest.done


def test_a_lease_gives_one_caller_the_engine_and_names_foreign_tokens(narrow: Running) -> None:
    name = new_name()
    dana = bearer(new_key(narrow, name))
    with narrow.client() as client:
        assert client.get("/admin/lease", headers=narrow.admin).status_code in (200, 404)
        with client.stream("POST", CHAT, json=LONG, headers=dana) as stream:
            lines = stream.iter_lines()
            next(lines)
            taken = client.post("/admin/lease", json={"seconds": 60, "reason": "sweep"}, headers=narrow.admin)
            assert taken.status_code == 201 and taken.json()["holder"] == "local"
            error = _refused(client.post(CHAT, json=SHORT, headers=dana), "leased")
            assert "local has the engine alone (sweep)" in error["message"]
            before = time.monotonic()
            while time.monotonic() < before + 0.2:
                next(lines)
        assert client.post(CHAT, json=SHORT).status_code == 200  # the owner, without a key
        report = client.delete("/admin/lease", headers=narrow.admin).json()
        assert report["foreign_tokens"][name] > 0 and report["own_tokens"] > 0 and report["seconds_left"] == 0
        assert client.post(CHAT, json=SHORT, headers=dana).status_code == 200
        assert client.get("/admin/lease", headers=narrow.admin).json() == report


def test_a_lease_ends_by_itself_and_may_be_another_key_s(narrow: Running) -> None:
    name = new_name()
    dana = bearer(new_key(narrow, name))
    with narrow.client() as client:
        lease = {"seconds": 1, "reason": "profile", "key": name}
        assert client.post("/admin/lease", json=lease, headers=narrow.admin).status_code == 201
        assert client.post(CHAT, json=SHORT, headers=dana).status_code == 200
        _refused(client.post(CHAT, json=SHORT), "leased")
        wait_for(lambda: client.post(CHAT, json=SHORT).status_code == 200, 10)
        assert client.post("/admin/lease", json=lease, headers=dana).status_code == 403
        unknown = client.post("/admin/lease", json=lease | {"key": "nobody"}, headers=narrow.admin)
        assert unknown.status_code == 404


def test_a_revoked_key_is_no_holder(narrow: Running) -> None:
    name = new_name()
    new_key(narrow, name)
    store(narrow).revoke(name)
    with narrow.client(headers=narrow.admin) as client:
        wait_for(lambda: _lease(client, name) == 404, 10)


def _lease(client: httpx2.Client, name: str) -> int:
    return client.post("/admin/lease", json={"seconds": 0.001, "reason": "x", "key": name}).status_code
