"""Who may come in."""

from __future__ import annotations

import httpx2
import pytest

from tests.service.running import Running, wait_for
from tests.service.teammates import bearer, new_key, new_name, store
from tests.service.wire_client import request, say

ENDLESS = {
    "model": "demo", "messages": [{"role": "user", "content": "Tell me a story."}],
    "ignore_eos": True, "max_tokens": 1500, "stream": True,
}  # fmt: skip


def test_the_owner_needs_no_key_on_this_machine(http: httpx2.Client) -> None:
    assert http.get("/v1/models").status_code == 200


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "localhost:9999", "LocalHost:1"])
def test_names_of_this_machine_need_no_key(service: Running, host: str) -> None:
    answer = say(service, request(host=host))
    assert answer is not None and answer.status == 200


@pytest.mark.parametrize("word", ["none", "EMPTY", "not-needed"])
def test_words_that_mean_no_key_are_taken_for_none(service: Running, http: httpx2.Client, word: str) -> None:
    assert http.get("/v1/models", headers=bearer(word)).status_code == 200


def test_a_wrong_key_is_refused_even_where_none_is_needed(http: httpx2.Client) -> None:
    answer = http.get("/v1/models", headers=bearer("aph_" + "0" * 40))
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize("header", ["Forwarded: for=203.0.113.9", "X-Real-IP: 203.0.113.9", "Via: 1.1 Caddy"])
def test_a_proxy_on_this_machine_does_not_bring_strangers_in(service: Running, header: str) -> None:
    answer = say(service, request("/v1/models", header))
    assert answer is not None and answer.status == 401


def test_another_name_of_the_service_needs_a_key(guarded: Running, service: Running) -> None:
    key = new_key(guarded)
    answer = say(guarded, request("/v1/models", f"x-api-key: {key}", host="lab.example:8443"))
    assert answer is not None and answer.status == 200
    answer = say(guarded, request(host="lab.example:8443"))
    assert answer is not None and answer.status == 401


@pytest.mark.parametrize("header", ["Authorization: Bearer {}", "authorization: bearer {}", "x-api-key: {}"])
def test_a_key_is_taken_from_either_header(guarded: Running, header: str) -> None:
    answer = say(guarded, request("/v1/models", header.format(new_key(guarded))))
    assert answer is not None and answer.status == 200


def test_both_headers_may_carry_the_same_key_and_not_two(guarded: Running) -> None:
    key = new_key(guarded)
    with guarded.client() as client:
        assert client.get("/v1/models", headers={**bearer(key), "x-api-key": key}).status_code == 200
        assert client.get("/v1/models", headers={**bearer(key), "x-api-key": key[:-1]}).status_code == 401


def test_health_is_open_and_says_nothing_else(guarded: Running) -> None:
    with guarded.client() as client:
        assert client.get("/health").status_code == 200
        assert client.get("/health", headers=bearer("wrong")).status_code == 200
        assert client.post("/health").status_code == 401
        assert client.get("/health/").status_code == 401


def test_admin_routes_are_for_admins(service: Running, http: httpx2.Client) -> None:
    assert http.get("/admin/status").status_code == 403
    assert http.get("/admin/status", headers=bearer(new_key(service))).status_code == 403
    assert http.get("/admin/status", headers=bearer(new_key(service, is_admin=True))).status_code == 200
    assert http.get("/admin/status", headers=service.admin).status_code == 200


def test_a_revoked_key_opens_nothing_on_the_connection_it_is_used_on(guarded: Running) -> None:
    name = new_name()
    headers = bearer(new_key(guarded, name))
    with guarded.client(headers=headers) as client:
        assert client.get("/v1/models").status_code == 200
        store(guarded).revoke(name)
        assert client.get("/v1/models").status_code == 401


def test_a_revoked_name_may_have_a_new_key(guarded: Running) -> None:
    name = new_name()
    old = new_key(guarded, name)
    store(guarded).revoke(name)
    new = new_key(guarded, name)
    with guarded.client() as client:
        assert client.get("/v1/models", headers=bearer(old)).status_code == 401
        assert client.get("/v1/models", headers=bearer(new)).status_code == 200


def test_revoking_a_key_ends_what_runs_on_it(guarded: Running) -> None:
    name = new_name()
    with guarded.client(headers=bearer(new_key(guarded, name))) as client:
        with client.stream("POST", "/v1/chat/completions", json=ENDLESS) as stream:
            lines = stream.iter_lines()
            next(lines)
            store(guarded).revoke(name)
            text = "\n".join(lines)
    assert '"code":"invalid_api_key"' in text and "[DONE]" not in text


def test_a_page_that_is_let_in_may_ask_and_read(guarded: Running) -> None:
    asks = {
        "origin": "https://pages.example", "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
    }  # fmt: skip
    with guarded.client() as client:
        preflight = client.options("/v1/chat/completions", headers=asks)
        assert preflight.status_code == 204
        assert preflight.headers["access-control-allow-origin"] == "https://pages.example"
        assert preflight.headers["access-control-allow-headers"] == "authorization,content-type"
        headers = {**bearer(new_key(guarded)), "origin": "https://pages.example", "sec-fetch-site": "cross-site"}
        answer = client.get("/v1/models", headers=headers)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "https://pages.example"
        assert client.options("/v1/models", headers=asks | {"origin": "https://other.example"}).status_code == 403


def test_a_page_of_the_service_itself_may_ask(http: httpx2.Client, service: Running) -> None:
    same = {"origin": service.url, "sec-fetch-site": "same-origin"}
    assert http.get("/v1/models", headers=same).status_code == 200
    assert http.get("/v1/models", headers={"sec-fetch-site": "none"}).status_code == 200


def test_cached_prefixes_are_not_shared_between_keys(guarded: Running) -> None:
    first, second = bearer(new_key(guarded)), bearer(new_key(guarded))
    story = "Once upon a time there was a fox named Pip. " * 12
    body = {"model": "demo", "messages": [{"role": "user", "content": story}], "max_tokens": 1}

    def cached(headers: dict[str, str]) -> int:
        with guarded.client(headers=headers) as client:
            answer = client.post("/v1/chat/completions", json=body)
            return answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"]

    assert cached(first) == 0
    assert cached(first) > 0
    assert cached(second) == 0


def test_no_key_is_ever_shown(guarded: Running) -> None:
    name = new_name()
    keys = [new_key(guarded, name), "aph_" + "5ecret" * 6, guarded.connection.admin_key]
    with guarded.client() as client:
        for key in keys:
            client.get("/v1/models", headers=bearer(key))
            client.get(f"/v1/models?api_key={key}", headers={"x-api-key": key})
            client.get("/v1/models", headers={"authorization": f"Basic {key}"})
        shown = client.get("/admin/status", headers=guarded.admin).text
        shown += client.get("/admin/keys", headers=guarded.admin).text
    wait_for(lambda: name in guarded.log, 5)
    everything = guarded.log + shown + _arguments_and_environments(guarded)
    assert not [key for key in keys if key in everything]


def _arguments_and_environments(service: Running) -> str:
    """Of the service and of what it started."""
    from pathlib import Path

    pids = [service.process.pid, service.engine_pid()]
    files = [Path(f"/proc/{pid}/{name}") for pid in pids for name in ("cmdline", "environ")]
    return "".join(file.read_text() for file in files)
