"""The service keeps its engine alive, survives what is around it, and ends without cutting anybody short."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from pathlib import Path

import pytest

from aphrodite.service.settings import ModelSettings, ServiceSettings
from tests.service import faulty_worker
from tests.service.processes import alive, children, kill, stop
from tests.service.running import DEMO, Running, running, wait_for
from tests.service.streams import Stream, begin, client

ENDLESS = {"ignore_eos": True, "max_tokens": 1900}


def status(service: Running) -> dict:
    with service.client(headers=service.admin) as http:
        return http.get("/admin/status").json()["models"][0]


def faulty(fault: str) -> ServiceSettings:
    return ServiceSettings(models=(ModelSettings(fault),), worker_command=faulty_worker.COMMAND)


# ---- an engine process that dies again and again


@pytest.mark.slow
def test_a_crash_loop_backs_off() -> None:
    ask = {"model": "dies-when-ready", "messages": [{"role": "user", "content": "Hi"}]}
    with running(faulty("dies-when-ready")) as service, service.client() as http:
        time.sleep(4)
        assert 2 <= status(service)["restarts"] <= 5  # at once, then after 1 s, 2 s, 4 s
        wait_for(lambda: http.get("/health").status_code == 503, 10)
        answer = http.post("/v1/chat/completions", json=ask)
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        # In the moments between two restarts there is no problem to tell of.
        wait_for(lambda: any(end in (status(service)["problem"] or "") for end in ("SIGKILL", "status 0")), 10)
        assert service.terminate() == 0


@pytest.mark.parametrize("fault", ["talks-nonsense", "announces-too-much"])
def test_an_engine_process_that_talks_nonsense_is_replaced(fault: str) -> None:
    with running(faulty(fault)) as service:
        wait_for(lambda: status(service)["restarts"] >= 1, 10)
        assert service.terminate() == 0
        assert children(service.process.pid) == []


# ---- the service dies


@pytest.mark.parametrize("doing", ["nothing", "a step", "stopped"])
def test_an_engine_process_does_not_outlive_its_service(doing: str) -> None:
    with running() as service:
        engine = service.engine_pid()
        if doing == "a step":

            async def busy() -> None:
                async with client(service.url) as http:
                    _, tasks = await begin(http, 2, **ENDLESS)
                    kill(service.process.pid)
                    await asyncio.gather(*tasks)

            asyncio.run(busy())
        else:
            if doing == "stopped":
                stop(engine)
            kill(service.process.pid)
        wait_for(lambda: not alive(engine), 2)


def test_an_engine_process_that_still_loads_does_not_outlive_its_service() -> None:
    with running(ServiceSettings(models=(DEMO,))) as service:
        kill(service.engine_pid())
        engine = wait_for(
            lambda: (found := status(service)["pid"]) and status(service)["state"] != "ready" and found, 5
        )
        kill(service.process.pid)
        wait_for(lambda: not alive(engine), 2)


# ---- SIGTERM


@pytest.mark.slow
def test_a_second_sigterm_ends_running_requests_with_an_error() -> None:
    async def hurried(service: Running) -> list[Stream]:
        async with client(service.url) as http:
            streams, tasks = await begin(http, 4, **ENDLESS)
            service.process.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.5)
            assert service.process.poll() is None
            service.process.send_signal(signal.SIGTERM)
            await asyncio.gather(*tasks)
            return streams

    with running() as service:
        started = time.monotonic()
        streams = asyncio.run(hurried(service))
        assert service.process.wait(10) == 0
        assert time.monotonic() - started < 15
        assert {stream.ending for stream in streams} <= {"error", "done"}
        assert "error" in {stream.ending for stream in streams}


def test_sigterm_while_a_model_loads_ends_at_once_and_leaves_nothing() -> None:
    with running(faulty("loads-well")) as service, service.client(headers=service.admin) as http:
        with contextlib.suppress(Exception):
            http.post("/admin/load", json={"model": "demo", "names": ["slow"]}, timeout=0.3)
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(10) == 0
        assert children(service.process.pid) == []
        assert list(service.home.glob("run/aphrodite/*/service.json")) == []
        assert list(service.home.glob("run/aphrodite/*/*.sock")) == []


# ---- sleep


@pytest.mark.slow
def test_sleep_gives_the_memory_back_and_waking_answers_the_same() -> None:
    ask = {"model": "demo", "messages": [{"role": "user", "content": "Tell me a story."}], "seed": 5, "max_tokens": 20}
    with running() as service, service.client(headers=service.admin) as http:
        engine = service.engine_pid()
        before = http.post("/v1/chat/completions", json=ask).json()["choices"][0]["message"]["content"]
        assert http.post("/admin/sleep", json={"model": "demo"}).json()["state"] == "asleep"
        assert not alive(engine)
        assert children(service.process.pid) == []
        refused = http.post("/v1/chat/completions", json=ask)
        assert refused.status_code == 503
        assert "asleep" in refused.json()["error"]["message"]
        assert refused.json()["error"]["code"] == "model_asleep"
        assert "retry-after" in refused.headers
        assert http.get("/health").status_code == 200
        assert http.get("/v1/models").json()["data"][0]["id"] == "demo"
        assert http.post("/admin/wake", json={"model": "demo"}).json()["state"] == "ready"
        assert service.engine_pid() != engine
        assert http.post("/v1/chat/completions", json=ask).json()["choices"][0]["message"]["content"] == before


def test_requests_that_run_when_the_model_falls_asleep_end_with_an_error() -> None:
    async def slept(service: Running) -> Stream:
        async with client(service.url) as http:
            streams, tasks = await begin(http, 1, **ENDLESS)
            await http.post("/admin/sleep", json={"model": "demo"}, headers=service.admin)
            await asyncio.gather(*tasks)
            return streams[0]

    with running() as service:
        assert asyncio.run(slept(service)).ending == "error"


@pytest.mark.slow
def test_waking_a_model_whose_folder_is_gone_is_a_clear_error(tmp_path: Path) -> None:
    import shutil

    from aphrodite_engine import demo

    folder = tmp_path / "mine"
    shutil.copytree(demo.path(), folder)
    with running() as service, service.client(headers=service.admin) as http:
        load = {"model": str(folder), "engine": {"kv_cache_memory": 2**24}}
        assert http.post("/admin/load", json=load).json()["names"] == ["mine"]
        http.post("/admin/sleep", json={"model": "mine"})
        shutil.rmtree(folder)
        refused = http.post("/admin/wake", json={"model": "mine"})
        assert refused.status_code == 400
        assert "mine" in refused.json()["error"]["message"]
        mine = next(m for m in http.get("/admin/status").json()["models"] if m["id"] == "mine")
        assert (mine["state"], mine["pid"]) == ("asleep", None)
        assert mine["problem"] == refused.json()["error"]["message"]
        assert http.get("/health").status_code == 200
        assert http.post("/v1/chat/completions", json={"model": "demo", "max_tokens": 1, "messages": [
            {"role": "user", "content": "Hi"}]}).status_code == 200  # fmt: skip
