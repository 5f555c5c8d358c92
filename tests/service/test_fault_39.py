"""FAULTS 39: batch files that are long or wrong, and services and engines that die in the middle."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import openai
import pytest
from msgspec import Raw
from openai.types import Batch

from aphrodite.service.access import User
from aphrodite.service.openai.batches.results import LineResponse, new_request_id
from aphrodite.service.openai.batches.run import BatchRun
from aphrodite.service.storage.batches import StoredBatch
from tests.service.running import Running, running, wait_for
from tests.service.test_batches import CHAT, begin, ended, line, question, results
from tests.service.test_storage import opened

#: A line that keeps the engine busy for a while.
LONG = {"messages": question(1)["messages"], "ignore_eos": True, "max_tokens": 100}


def client(service: Running) -> openai.OpenAI:
    return openai.OpenAI(base_url=service.url + "/v1", api_key="none", max_retries=0)


def completed(sdk: openai.OpenAI, batch: Batch) -> int:
    counts = sdk.batches.retrieve(batch.id).request_counts
    return counts.completed if counts else 0


def test_fault_39_each_wrong_line_has_its_own_error(sdk: openai.OpenAI) -> None:
    good = line("good", **question(1))
    lines = [
        "\ufeff" + line("first", **question(2)),
        "not json",
        "[]",
        "{" * 10_000,
        json.dumps({"method": "POST", "url": CHAT, "body": {}}),
        json.dumps({"custom_id": "no-body", "method": "POST", "url": CHAT}),
        json.dumps({"custom_id": "no-url", "method": "POST", "body": {}}),
        json.dumps({"custom_id": "get", "method": "GET", "url": CHAT, "body": {}}),
        line("elsewhere", "/v1/embeddings"),
        line("nowhere", "/v1/../admin/status"),
        line("stream", stream=True, **question(3)),
        json.dumps({"custom_id": "list", "method": "POST", "url": CHAT, "body": []}),
        json.dumps({"custom_id": 5, "method": "POST", "url": CHAT, "body": {}}),
        line("", **question(3)),
        "",
        good,
        good,
        line("long", messages=[{"role": "user", "content": "x" * (9 * 2**20)}]),
        line("last'; DROP TABLE batch_lines; --", **question(4)),
    ]
    batch = begin(sdk, "\r\n".join(lines).encode() + b"\r\n\xff\xfe\r\n")
    done = ended(sdk, batch)
    assert done.status == "completed"
    found = results(sdk, done.output_file_id)
    assert [one["custom_id"] for one in found] == ["first", "good", "last'; DROP TABLE batch_lines; --"]
    wrong = {one["error"]["line"]: one for one in results(sdk, done.error_file_id)}
    assert sorted(wrong) == [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 17, 18, 20]
    assert all(f"line {number}: " in one["error"]["message"] for number, one in wrong.items())
    codes = {number: one["error"]["code"] for number, one in wrong.items()}
    assert codes[2] == codes[4] == codes[20] == "invalid_json"
    assert (codes[5], codes[9], codes[17], codes[18]) == (
        "missing_required_parameter", "invalid_url", "duplicate_custom_id", "line_too_long",
    )  # fmt: skip
    assert wrong[9]["custom_id"] == "elsewhere" and wrong[17]["custom_id"] == "good" and wrong[2]["custom_id"] is None
    counts = done.request_counts
    assert counts is not None and (counts.total, counts.completed, counts.failed) == (19, 3, 16)


async def answer_at_once(batch: StoredBatch, body: bytes) -> LineResponse:
    await asyncio.sleep(0)
    return LineResponse(200, new_request_id(), Raw(body))


def test_fault_39_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """A million lines take no more than these: what is held is a page of lines, whatever their number."""
    lines = 4_000
    text = line("%07d", messages=[{"role": "user", "content": "x" * 5000}])

    async def check() -> int:
        async with opened(tmp_path) as storage:
            incoming = await storage.files.begin()
            for number in range(lines):
                incoming.write((text % number + "\n").encode())
            assert incoming.size > 20e6
            file = await storage.files.keep("local", incoming, "a", "batch")
            batch = await storage.batches.create(User(), CHAT, file.id, 3600, None)
            tracemalloc.start()
            try:
                run = BatchRun(batch, storage, answer_at_once, 2**20)
                await run.run()
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            assert (run.batch.status, run.batch.details.error_file_id) == ("completed", None)
            with await storage.files.open(run.batch.details.output_file_id or "") as output:
                ids = [json.loads(row)["custom_id"] for row in output]
            assert ids == [f"{number:07d}" for number in range(lines)]
            return peak

    assert asyncio.run(check()) < 8 * 2**20


@pytest.mark.slow
def test_fault_39_a_killed_service_goes_on_where_it_was(tmp_path: Path) -> None:
    data = {"APHRODITE_DATA_DIR": str(tmp_path / "data")}
    lines = [line(f"r{number}", **LONG) for number in range(100)] + [line("r0")]
    with running(None, **data) as service, client(service) as sdk:
        batch = begin(sdk, lines)
        wait_for(lambda: completed(sdk, batch) >= 10, 60)
        os.killpg(service.process.pid, signal.SIGKILL)
        service.process.wait()
    with running(None, **data) as service, client(service) as sdk:
        before = completed(sdk, batch)
        assert before >= 10, "what was answered is not asked again"
        wait_for(lambda: completed(sdk, batch) >= min(100, before + 10), 60)
        service.process.kill()
        service.process.wait()
    with running(None, **data) as service, client(service) as sdk:
        done = ended(sdk, batch, 120)
        check_exactly_once(sdk, done, 100)
        assert [one["error"]["code"] for one in results(sdk, done.error_file_id)] == ["duplicate_custom_id"]


def check_exactly_once(sdk: openai.OpenAI, done: Batch, lines: int) -> None:
    assert done.status == "completed"
    found: list[dict[str, Any]] = results(sdk, done.output_file_id)
    assert Counter(one["custom_id"] for one in found) == Counter({f"r{number}": 1 for number in range(lines)})
    assert all(one["response"]["status_code"] == 200 for one in found)
    assert done.request_counts is not None and done.request_counts.completed == lines


@pytest.mark.slow
def test_fault_39_a_killed_engine_costs_no_line() -> None:
    with running() as service, client(service) as sdk:
        batch = begin(sdk, [line(f"r{number}", **LONG) for number in range(60)])
        for least in (5, 20):
            wait_for(lambda least=least: completed(sdk, batch) >= least, 60)
            os.kill(service.engine_pid(), signal.SIGKILL)
        done = ended(sdk, batch, 120)
        check_exactly_once(sdk, done, 60)
        assert done.error_file_id is None


@pytest.mark.slow
def test_fault_39_a_drained_service_leaves_the_rest_for_the_next(tmp_path: Path) -> None:
    data = {"APHRODITE_DATA_DIR": str(tmp_path / "data")}
    with running(None, **data) as service, client(service) as sdk:
        batch = begin(sdk, [line(f"r{number}", **LONG) for number in range(120)])
        wait_for(lambda: completed(sdk, batch) >= 5, 60)
        assert service.terminate(20) == 0
        assert "Traceback" not in service.log
    with running(None, **data) as service, client(service) as sdk:
        check_exactly_once(sdk, ended(sdk, batch, 120), 120)
