"""`/` and `/playground/` of the service: who comes in, what comes back, and what cannot be reached through them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import httpx2
import pytest

from aphrodite.client import AsyncClient
from aphrodite.service.settings import ServiceSettings
from tests.dashboard.conftest import arrive
from tests.service.running import DEMO, Running, running
from tests.service.teammates import bearer, new_key, store

LINK = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


@pytest.fixture(scope="module")
def guarded() -> Iterator[Running]:
    """A service that asks everybody for a key."""
    with running(ServiceSettings(models=(DEMO,), require_key=True)) as found:
        yield found


def log_in(service: Running, key: str) -> httpx2.Response:
    """What the login page's form does."""
    with service.client() as client:
        return client.post("/playground/login", data={"key": key})


def visit_of(answer: httpx2.Response) -> str:
    """The cookie's value."""
    found = re.search(r"aphrodite-visit-\d+=([^;]+)", answer.headers["set-cookie"])
    assert found is not None
    return found[1]


# ---- arriving


def test_the_entrance_leads_on_by_itself(served: Running) -> None:
    with served.client() as client:
        answer = client.get("/")
        assert answer.status_code == 200 and 'location.replace("playground/")' in answer.text
        assert client.head("/").status_code == 200
        folder = client.get("/playground", follow_redirects=False)
        assert (folder.status_code, folder.headers["location"]) == (307, "playground/")


def test_a_link_on_another_site_leads_to_the_entrance_and_nowhere_else(served: Running) -> None:
    with served.client() as client:
        assert client.get("/", headers=LINK).status_code == 200
        for path in ("/playground/", "/v1/models", "/health", "/playground/login"):
            assert client.get(path, headers=LINK).status_code == 403, path
        assert client.post("/", headers=LINK).status_code == 403
        for other in ({"sec-fetch-dest": "iframe"}, {"sec-fetch-mode": "no-cors"}, {"origin": "https://evil.example"}):
            assert client.get("/", headers=LINK | other).status_code == 403
        assert client.get("/", headers=LINK | {"host": "evil.example"}).status_code == 403


def test_the_page_names_no_other_machine_and_is_let_load_nothing_from_one(opened: Running) -> None:
    answer = arrive(opened)
    assert (answer.status_code == 200 and "<title>" in answer.text) or "Aphrodite" in answer.text
    assert "playground.invalid" not in answer.text
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', answer.text)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy and "http" not in policy
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "path", ["gradio_api/upload", "gradio_api/file=/etc/passwd", "gradio_api/proxy=https://x.hf.space/", "monitoring",
             "gradio_api/vibe-code", "docs", "openapi.json", "gradio_api/call/x", "//etc/passwd"],
)  # fmt: skip
def test_what_the_page_does_not_need_is_not_there(opened: Running, path: str) -> None:
    with opened.client() as client:
        assert client.get("/playground/" + path).status_code == 404


def test_an_unknown_path_of_the_service_is_still_an_error_of_the_endpoint(opened: Running) -> None:
    with opened.client() as client:
        answer = client.get("/v1/chat/completion")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "route_not_found")


def test_a_body_that_is_too_large_is_refused(opened: Running) -> None:
    with opened.client() as client:
        assert client.post("/playground/gradio_api/run/x", content=b"x" * (9 * 2**20)).status_code == 413


@pytest.mark.slow
def test_a_service_without_a_playground_says_where_its_endpoint_is() -> None:
    with running(ServiceSettings(models=(DEMO,), playground=False)) as service, service.client() as client:
        entrance = client.get("/")
        assert entrance.status_code == 200 and "/v1" in entrance.text and "playground/" not in entrance.text
        assert client.get("/playground/").status_code == 404


# ---- with keys


def test_who_has_no_key_is_asked_for_it(guarded: Running) -> None:
    with guarded.client() as client:
        assert client.get("/").status_code == 401
        page = client.get("/playground/")
        assert page.status_code == 401 and 'name="key"' in page.text
        asset = client.get("/playground/theme.css")
        assert asset.status_code == 401 and asset.json()["error"]["code"] == "invalid_api_key"
        assert client.post("/playground/gradio_api/queue/join", json={}).status_code == 401


@pytest.mark.parametrize("key", ["", "wrong", "none", "é\x00", "x" * 4000])
def test_a_wrong_key_is_told_and_sets_no_cookie(guarded: Running, key: str) -> None:
    answer = log_in(guarded, key)
    assert answer.status_code == 401 and "wrong, or was revoked" in answer.text
    assert "set-cookie" not in answer.headers


def test_a_key_is_shown_once_and_the_cookie_is_no_script_s_and_no_other_site_s(guarded: Running) -> None:
    key = new_key(guarded)
    answer = log_in(guarded, key)
    assert (answer.status_code, answer.headers["location"]) == (303, "./")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Path" not in cookie
    assert key not in cookie and key not in guarded.log
    assert arrive(guarded, headers={"cookie": cookie.partition(";")[0]}).status_code == 200


def test_another_site_cannot_log_somebody_in(guarded: Running) -> None:
    with guarded.client() as client:
        forged = client.post(
            "/playground/login", data={"key": new_key(guarded)}, headers={"origin": "https://evil.example"}
        )
        assert forged.status_code == 403


def test_the_cookie_opens_the_pages_only(guarded: Running) -> None:
    cookie = log_in(guarded, new_key(guarded)).headers["set-cookie"].partition(";")[0]
    with guarded.client(headers={"cookie": cookie}) as client:
        assert client.get("/v1/models").status_code == 401
        assert client.get("/playground/").status_code in (200, 202)


def test_a_visit_is_worth_the_key_without_its_admin_rights(guarded: Running) -> None:
    visit = visit_of(log_in(guarded, new_key(guarded, is_admin=True)))
    with guarded.client(headers=bearer(visit)) as client:
        assert client.get("/v1/models").status_code == 200
        assert client.get("/admin/status").status_code == 403
    owner = visit_of(log_in(guarded, guarded.connection.admin_key))
    with guarded.client(headers=bearer(owner)) as client:
        assert client.get("/admin/keys").status_code == 403


def test_what_is_asked_at_the_page_counts_against_the_key(guarded: Running) -> None:
    visit = visit_of(log_in(guarded, new_key(guarded, "tessa", requests_per_minute=1)))

    async def ask() -> list[str]:
        async with AsyncClient(guarded.url, api_key=visit, retries=0) as client:
            await client.generate("Once", max_tokens=2)
            try:
                await client.generate("Once", max_tokens=2)
            except Exception as error:
                return [type(error).__name__, str(error)]
        return []

    kind, said = asyncio.run(ask())
    assert kind == "RateLimitError" and "1 requests a minute" in said


def test_a_revoked_key_ends_its_visits(guarded: Running) -> None:
    key = new_key(guarded, "pip")
    answer = log_in(guarded, key)
    cookie, visit = answer.headers["set-cookie"].partition(";")[0], visit_of(answer)
    store(guarded).revoke("pip")
    with guarded.client(headers=bearer(visit)) as client:
        assert client.get("/v1/models").status_code == 401
    with guarded.client(headers={"cookie": cookie}) as client:
        assert 'name="key"' in client.get("/playground/").text
