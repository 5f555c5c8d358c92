"""Models come and go while the service runs, and one that is refused disturbs nobody."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from aphrodite.service.settings import ModelSettings, ServiceSettings
from aphrodite_engine import demo
from tests.service import faulty_worker
from tests.service.processes import alive, children
from tests.service.running import DEMO, Running, running, wait_for
from tests.service.streams import STORY, begin, client

SMALL = {"kv_cache_memory": 2**24}


@pytest.fixture(scope="module")
def swapped() -> Iterator[Running]:
    """A service for these tests; each leaves `demo` alone in it."""
    with running() as service:
        yield service


@pytest.fixture(scope="module")
def swapped_http(swapped: Running) -> Iterator[httpx2.Client]:
    with swapped.client(headers=swapped.admin) as http:
        yield http


def models(http: httpx2.Client) -> dict[str, dict[str, Any]]:
    return {model["id"]: model for model in http.get("/admin/status").json()["models"]}


def answer(http: httpx2.Client, model: str) -> httpx2.Response:
    return http.post("/v1/chat/completions", json={"model": model, "messages": STORY, "seed": 1, "max_tokens": 8})


@pytest.mark.slow
def test_a_second_model_is_served_beside_the_first_and_unloaded_again(
    swapped: Running, swapped_http: httpx2.Client
) -> None:
    http = swapped_http
    first = swapped.engine_pid()
    loaded = http.post("/admin/load", json={"model": "demo", "names": ["second", "its-alias"], "engine": SMALL})
    assert loaded.status_code == 200
    assert loaded.json()["plan"]["kv_bytes"] <= 2**24
    assert {model["id"] for model in http.get("/v1/models").json()["data"]} == {"demo", "second", "its-alias"}
    texts = [answer(http, name).json()["choices"][0]["message"]["content"] for name in ("demo", "second", "its-alias")]
    assert len(set(texts)) == 1
    second = models(http)["second"]["pid"]
    assert second != first
    assert http.post("/admin/unload", json={"model": "its-alias"}).status_code == 200
    assert not alive(second)
    assert answer(http, "second").status_code == 404
    assert answer(http, "demo").status_code == 200
    assert swapped.engine_pid() == first


def test_a_name_that_is_taken_is_refused(swapped_http: httpx2.Client) -> None:
    refused = swapped_http.post("/admin/load", json={"model": "demo", "names": ["other", "demo"]})
    assert refused.status_code == 409
    assert "'demo'" in refused.json()["error"]["message"]
    assert list(models(swapped_http)) == ["demo"]


@pytest.mark.slow
def test_a_model_that_does_not_fit_is_refused_with_the_numbers_and_streams_go_on(
    swapped: Running, swapped_http: httpx2.Client
) -> None:
    async def refused_meanwhile() -> tuple[httpx2.Response, list[str]]:
        async with client(swapped.url) as http:
            streams, tasks = await begin(http, 3, ignore_eos=True, max_tokens=1500)
            too_large = {"model": "demo", "names": ["large"], "engine": {"kv_cache_memory": 2**50}}
            answer = await http.post("/admin/load", json=too_large, headers=swapped.admin)
            await asyncio.gather(*tasks)
            return answer, [stream.ending for stream in streams]

    engine = swapped.engine_pid()
    refused, endings = asyncio.run(refused_meanwhile())
    assert refused.status_code == 400
    assert "kv_cache_memory=1,125,899,906,842,624 bytes, but" in refused.json()["error"]["message"]
    assert endings == ["done"] * 3
    assert swapped.engine_pid() == engine
    assert children(swapped.process.pid) == [engine]
    assert list(models(swapped_http)) == ["demo"]


@pytest.mark.slow
def test_memory_that_another_model_was_promised_is_not_given_twice(swapped_http: httpx2.Client) -> None:
    http = swapped_http
    free = models(http)["demo"]["plan"]["free_bytes"]
    two_thirds = {"kv_cache_memory": free * 2 // 3}  # the system hands out its pages only when they are written
    assert http.post("/admin/load", json={"model": "demo", "names": ["a"], "engine": two_thirds}).status_code == 200
    refused = http.post("/admin/load", json={"model": "demo", "names": ["b"], "engine": two_thirds})
    assert http.post("/admin/unload", json={"model": "a"}).status_code == 200
    assert refused.status_code == 400
    assert "are left to others" in refused.json()["error"]["message"]


@pytest.mark.slow
def test_who_stops_waiting_for_a_model_does_not_get_it(swapped: Running, swapped_http: httpx2.Client) -> None:
    with pytest.raises(httpx2.TimeoutException), swapped.client(headers=swapped.admin) as impatient:
        impatient.post("/admin/load", json={"model": "demo", "names": ["unwanted"]}, timeout=0.5)
    wait_for(lambda: list(models(swapped_http)) == ["demo"], 15)
    wait_for(lambda: children(swapped.process.pid) == [swapped.engine_pid()], 15)


@pytest.mark.slow
def test_a_model_that_still_loads_can_be_unloaded_and_does_not_make_the_service_ill(
    swapped: Running, swapped_http: httpx2.Client
) -> None:
    async def unloaded() -> tuple[httpx2.Response, ...]:
        async with httpx2.AsyncClient(base_url=swapped.url, headers=swapped.admin, timeout=60) as http:
            loading = asyncio.create_task(http.post("/admin/load", json={"model": "demo", "names": ["slow"]}))
            while "slow" not in (await http.get("/v1/models")).text:
                await asyncio.sleep(0.02)
            health = await http.get("/health")
            early = await http.post("/v1/chat/completions", json={"model": "slow", "messages": STORY})
            asleep = await http.post("/admin/sleep", json={"model": "slow"})
            gone = await http.post("/admin/unload", json={"model": "slow"})
            return health, early, asleep, gone, await loading

    health, early, asleep, gone, loading = asyncio.run(unloaded())
    assert (health.status_code, health.json()["models"]["slow"]) == (200, "starting")
    assert (early.status_code, early.json()["error"]["code"]) == (503, "model_starting")
    assert asleep.status_code == 409
    assert gone.status_code == 200
    assert loading.status_code == 400
    assert list(models(swapped_http)) == ["demo"]
    assert children(swapped.process.pid) == [swapped.engine_pid()]


@pytest.mark.parametrize("route", ["unload", "sleep", "wake"])
def test_a_name_nobody_knows_is_404(swapped_http: httpx2.Client, route: str) -> None:
    answer = swapped_http.post(f"/admin/{route}", json={"model": "nobody"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


@pytest.mark.slow
def test_one_model_is_served_under_several_names(tmp_path: Path) -> None:
    folder = tmp_path / "Fox-5M"
    shutil.copytree(demo.path(), folder)
    settings = ModelSettings(str(folder), ("fox", "fox-latest"), DEMO.engine)
    with running(ServiceSettings(models=(settings,))) as service, service.client(headers=service.admin) as http:
        listed = {model["id"]: model["root"] for model in http.get("/v1/models").json()["data"]}
        assert listed == {"fox": "fox", "fox-latest": "fox"}
        assert answer(http, "fox-latest").json()["model"] == "fox-latest"
        http.post("/admin/unload", json={"model": "fox"})
        assert http.get("/health").json() == {"status": "ok", "models": {}}
        assert http.post("/admin/load", json={"model": str(folder), "engine": SMALL}).json()["names"] == ["Fox-5M"]
        assert answer(http, "Fox-5M").status_code == 200


def test_a_model_with_a_dead_engine_process_can_be_unloaded() -> None:
    settings = ServiceSettings(models=(ModelSettings("dies-when-ready"),), worker_command=faulty_worker.COMMAND)
    with running(settings) as service, service.client(headers=service.admin) as http:
        wait_for(lambda: models(http)["dies-when-ready"]["state"] == "restarting", 20)
        assert http.post("/admin/unload", json={"model": "dies-when-ready"}).status_code == 200
        assert models(http) == {}
        assert children(service.process.pid) == []
