"""What is measured; each part starts the services it needs and ends them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import load
import psutil
from load import Answer

from aphrodite.service.settings import ModelSettings, ServiceSettings
from tests.service.running import DEMO, Running, running

HERE = Path(__file__).parent
NULL = (sys.executable, str(HERE / "null_worker.py"))
QUESTION = [{"role": "user", "content": "What is 39 + 48?"}]
STORY = [{"role": "user", "content": "Tell me a story about a fox named Pip."}]
REQUESTS = 2000
#: What each depth of ours is measured beside.
BESIDE = {"http": "bare", "chat": "bare_engine"}


def null_service(ms_per_token: float) -> ServiceSettings:
    """The whole service with an engine that costs nothing."""
    model = ModelSettings("null", engine={"ms_per_token": ms_per_token})
    return ServiceSettings(models=(model,), worker_command=NULL)


@contextlib.contextmanager
def bare(*options: str) -> Iterator[int]:
    """The bare application; its port."""
    with bare_process(*options) as (port, _):
        yield port


@contextlib.contextmanager
def bare_process(*options: str, script: str = "bare.py") -> Iterator[tuple[int, int]]:
    """A bare application; its port and process id."""
    with socket.socket() as probe:
        probe.bind((load.HOST, 0))
        port = probe.getsockname()[1]
    command = [sys.executable, str(HERE / script), str(port), *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while True:
            with socket.socket() as probe:
                if probe.connect_ex((load.HOST, port)) == 0:
                    break
            if time.monotonic() > deadline:
                raise TimeoutError("the bare application did not start")
            time.sleep(0.05)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


def new_key(service: Running) -> str:
    """A key of a teammate, so that access control and limits are measured too."""
    with service.client(headers=service.admin) as client:
        answer = client.post("/admin/keys", json={"name": "bench"})
        answer.raise_for_status()
        return answer.json()["key"]


def chat(model: str, key: str, stream: bool, max_tokens: int = 80, **fields: object) -> bytes:
    body = {"model": model, "messages": STORY, "stream": stream, "max_tokens": max_tokens, **fields}
    return load.request("/v1/chat/completions", body, key)


async def layers(rounds: int) -> dict[str, Any]:
    """Requests a second of ours and of bare applications, A B A B, at two depths.

    `http` is a route that asks no engine (GET /v1/models): routing, access, limits, metrics, request ids; beside an
    application that returns a constant. `chat` goes on to the null engine in a process of its own and back, with 80
    tokens in its answer; beside an application that does that and nothing else.
    """
    found: dict[str, list[float]] = {name: [] for name in ("bare", "http", "bare_engine", "chat")}
    latencies: dict[str, list[float]] = {name: [] for name in found}
    with running(null_service(0)) as service, bare() as bare_port, bare_process(script="bare_engine.py") as asking:
        key, port = new_key(service), service.connection.port
        body = {"messages": STORY, "model": "null", "max_tokens": 80}
        contestants = {
            "bare": (bare_port, load.request("/", body)),
            "http": (port, load.request("/v1/models", None, key)),
            "bare_engine": (asking[0], load.request("/", body)),
            "chat": (port, chat("null", key, stream=False)),
        }
        for where, data in contestants.values():
            await load.closed_loop(where, lambda data=data: data, 16, 200)
        for _ in range(rounds):
            for name, (where, data) in contestants.items():
                began = time.perf_counter()
                answers = await load.closed_loop(where, lambda data=data: data, 16, REQUESTS)
                found[name].append(len(answers) / (time.perf_counter() - began))
                check_all(answers)
                latencies[name].append(percentile([a.seconds for a in answers], 99) * 1e3)
    return {
        "requests_per_s": found,
        "p99_ms": latencies,
        "ratios": {name: median_ratio(found[name], found[beside]) for name, beside in BESIDE.items()},
        "added_p99_ms": {
            name: statistics.median(b - a for a, b in zip(latencies[beside], latencies[name], strict=True))
            for name, beside in BESIDE.items()
        },
    }


async def cost(rounds: int) -> dict[str, Any]:
    """Processor time a request in the serving process alone, which other work on the machine hardly touches.

    `bare, logged` is the bare application with as many headers in its answer as ours and uvicorn's own access log.
    """
    found: dict[str, list[float]] = {}
    with (
        running(null_service(0)) as service,
        bare_process() as plain,
        bare_process("--log") as logged,
        bare_process(script="bare_engine.py") as asking,
    ):
        key = new_key(service)
        ours = (service.connection.port, service.process.pid)
        body = {"messages": STORY, "model": "null", "max_tokens": 80}
        contestants = {
            "bare": (plain, load.request("/", body), REQUESTS),
            "bare, logged": (logged, load.request("/as-many-headers", body), REQUESTS),
            "GET /v1/models": (ours, load.request("/v1/models", None, key), REQUESTS),
            "bare, null engine": (asking, load.request("/", body), REQUESTS // 4),
            "chat, 80 tokens": (ours, chat("null", key, stream=False), REQUESTS // 4),
            "chat, 80 tokens streamed": (ours, chat("null", key, stream=True), REQUESTS // 4),
        }
        for _ in range(2 * rounds):
            for name, ((port, pid), data, count) in contestants.items():
                began = _processor_seconds(pid)
                check_all(await load.closed_loop(port, lambda data=data: data, 16, count))
                found.setdefault(name, []).append((_processor_seconds(pid) - began) / count * 1e6)
    return {"microseconds": found}


def _processor_seconds(pid: int) -> float:
    """Of a process, to the nanosecond: its clock's id, as clock_getcpuclockid(3) makes it."""
    return time.clock_gettime((~pid << 3) | 2)


async def streams(rounds: int) -> dict[str, Any]:
    """200 streams at once, a token each 20 ms."""
    found: dict[str, list[float]] = {"ours_itl_p50_ms": [], "ours_itl_p99_ms": [], "bare_itl_p99_ms": []}
    truncated = 0
    with running(null_service(20)) as service, bare() as bare_port:
        key, port, tokens = new_key(service), service.connection.port, 200
        data = chat("null", key, stream=True, max_tokens=tokens)
        for _ in range(rounds):
            answers = await load.closed_loop(port, lambda: data, 200, 200)
            truncated += sum(not a.complete or len(a.events) != tokens for a in answers)
            itls = [gap * 1e3 for answer in answers for gap in answer.itls]
            found["ours_itl_p50_ms"].append(percentile(itls, 50))
            found["ours_itl_p99_ms"].append(percentile(itls, 99))
            stream = load.request(f"/stream/{tokens}", {"model": "null"})
            answers = await load.closed_loop(bare_port, lambda stream=stream: stream, 200, 200)
            found["bare_itl_p99_ms"].append(percentile([g * 1e3 for a in answers for g in a.itls], 99))
    return {"streams": 200, "tokens": 200, "truncated": truncated, **found}


async def serve(rounds: int) -> dict[str, Any]:
    """Closed loop at 1, 16, 64 and 200 streams and open loop, with the null engine and the bundled model."""
    table = []
    for name, settings in (("null", null_service(0)), ("demo", ServiceSettings(models=(DEMO,)))):
        with running(settings) as service:
            key, port = new_key(service), service.connection.port
            seeds = itertools.count()

            def data(name: str = name, key: str = key, seeds: Iterator[int] = seeds) -> bytes:
                return chat(name, key, stream=True, max_tokens=32, seed=next(seeds), ignore_eos=True)

            await load.closed_loop(port, data, 4, 8)
            for concurrency in (1, 16, 64, 200):
                count = min(max(32, 4 * concurrency), 400) if name == "demo" else 800
                began = time.perf_counter()
                answers = await load.closed_loop(port, data, concurrency, count)
                table.append(_row(name, f"{concurrency} at once", answers, time.perf_counter() - began))
            rate = 10.0 if name == "demo" else 100.0
            answers = await load.open_loop(port, data, rate, 6)
            table.append(_row(name, f"{rate:.0f}/s, Poisson", answers, 6))
    return {"rows": table}


def _row(engine: str, arrivals: str, answers: Sequence[Answer], seconds: float) -> dict[str, Any]:
    check_all(answers)
    good = [a for a in answers if a.ttft <= 0.2 and max(a.itls, default=0.0) <= 0.05]
    tpots = [(a.seconds - a.ttft) / max(1, len(a.events) - 1) * 1e3 for a in answers]
    return {
        "engine": engine,
        "arrivals": arrivals,
        "requests_per_s": len(answers) / seconds,
        "tokens_per_s": sum(len(a.events) for a in answers) / seconds,
        "ttft_p50_ms": percentile([a.ttft * 1e3 for a in answers], 50),
        "ttft_p99_ms": percentile([a.ttft * 1e3 for a in answers], 99),
        "itl_p50_ms": percentile([g * 1e3 for a in answers for g in a.itls], 50),
        "itl_p99_ms": percentile([g * 1e3 for a in answers for g in a.itls], 99),
        "tpot_p50_ms": percentile(tpots, 50),
        "goodput_per_s": len(good) / seconds,
    }


async def offline(rounds: int) -> dict[str, Any]:
    """The offline workload on the 0.6B shape, in-process and over HTTP, A B A B."""
    import workloads  # pyright: ignore[reportMissingImports]
    from shapes import SHAPES, checkpoint  # pyright: ignore[reportMissingImports]

    from aphrodite_engine.llm import LLM
    from aphrodite_engine.params import SamplingParams

    shape = SHAPES["0.6b"]
    folder = checkpoint(shape)
    jobs = workloads.offline_on_cpu()
    engine: dict[str, Any] = {"kv_cache_memory": shape.kv_cache_memory}
    seconds: dict[str, list[float]] = {"in-process": [], "http": []}
    params = [
        SamplingParams(max_tokens=j.max_tokens, temperature=j.temperature, seed=j.seed, ignore_eos=True) for j in jobs
    ]
    model = ModelSettings(str(folder), ("big",), engine)
    with LLM(folder, **engine) as llm, running(ServiceSettings(models=(model,))) as service:
        key, port = new_key(service), service.connection.port
        requests = [_completion(job, key) for job in jobs]
        for _ in range(rounds):
            began = time.perf_counter()
            results = llm.generate([list(job.prompt) for job in jobs], params)
            seconds["in-process"].append(time.perf_counter() - began)
            began = time.perf_counter()
            answers = await asyncio.gather(*(load.Connection(port).ask(data) for data in requests))
            seconds["http"].append(time.perf_counter() - began)
            check_all(answers)
            assert [len(r.token_ids) for r in results] == [job.max_tokens for job in jobs]
    lost = [http / own - 1 for own, http in zip(seconds["in-process"], seconds["http"], strict=True)]
    return {"seconds": seconds, "lost": lost}


def _completion(job: Any, key: str) -> bytes:
    body = {
        "model": "big", "prompt": list(job.prompt), "max_tokens": job.max_tokens, "temperature": job.temperature,
        "seed": job.seed, "ignore_eos": True,
    }  # fmt: skip
    return load.request("/v1/completions", body, key)


async def cancel(rounds: int) -> dict[str, Any]:
    """From closing the connection to a free slot, with eight streams of the bundled model running."""
    seconds: list[float] = []
    with running(ServiceSettings(models=(DEMO,))) as service:
        key = new_key(service)
        data = chat("demo", key, stream=True, max_tokens=1500, ignore_eos=True)
        async with _streams(service.connection.port, data, 8) as writers:
            for writer in writers[: max(rounds, 5)]:
                before = await _running(service)
                writer.close()
                began = time.perf_counter()
                while await _running(service) >= before:
                    await asyncio.sleep(0.005)
                seconds.append(time.perf_counter() - began)
    return {"seconds": seconds, "note": "the engine's count is asked for twice a second, so half a second is in it"}


@contextlib.asynccontextmanager
async def _streams(port: int, data: bytes, count: int) -> AsyncIterator[list[asyncio.StreamWriter]]:
    opened = [await asyncio.open_connection(load.HOST, port) for _ in range(count)]
    drains = [asyncio.create_task(_drain(reader)) for reader, _ in opened]
    for _, writer in opened:
        writer.write(data)
    await asyncio.sleep(1.5)
    try:
        yield [writer for _, writer in opened]
    finally:
        for _, writer in opened:
            writer.close()
        await asyncio.gather(*drains, return_exceptions=True)


async def _drain(reader: asyncio.StreamReader) -> None:
    while await reader.read(65536):
        pass


async def _running(service: Running) -> int:
    def ask() -> int:
        with service.client(headers=service.admin) as client:
            return client.get("/admin/status").json()["models"][0]["stats"]["running"]

    return await asyncio.to_thread(ask)


async def memory(rounds: int) -> dict[str, Any]:
    """Resident memory of the service and its engine over 10,000 short requests."""
    del rounds
    with running(ServiceSettings(models=(DEMO,))) as service:
        key, port = new_key(service), service.connection.port
        seeds = itertools.count()

        def data() -> bytes:
            return chat("demo", key, stream=next(seeds) % 2 == 0, max_tokens=2, seed=next(seeds))

        processes = {"service": service.process.pid, "engine": service.engine_pid()}
        check_all(await load.closed_loop(port, data, 16, 1000))
        before = {name: psutil.Process(pid).memory_info().rss for name, pid in processes.items()}
        check_all(await load.closed_loop(port, data, 16, 10_000))
        after = {name: psutil.Process(pid).memory_info().rss for name, pid in processes.items()}
        descriptors = len(os.listdir(f"/proc/{processes['service']}/fd"))
    grown = {name: (after[name] - before[name]) / 2**20 for name in processes}
    return {"requests": 10_000, "before_bytes": before, "grown_mb": grown, "descriptors_after": descriptors}


def check_all(answers: Sequence[Answer]) -> None:
    """No speed on a red gate."""
    wrong = [a.status for a in answers if not a.complete]
    if wrong:
        sys.exit(f"red gate: {len(wrong)} of {len(answers)} answers are not whole (status {wrong[:5]})")


def percentile(values: Sequence[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else float("nan")


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
