"""FAULTS 36: a disk that is full, or that became read-only."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import subprocess
from collections.abc import Awaitable, Iterator
from pathlib import Path

import httpx2
import openai
import pytest

from aphrodite.service.errors import ApiError
from aphrodite.service.storage.files import on_disk
from aphrodite.service.storage.responses import StoredResponse
from tests.service.running import running, wait_for
from tests.service.test_batches import begin, ended, line, results
from tests.service.test_storage import opened

ASKED = {"model": "demo", "input": "What is 39 + 48?", "max_output_tokens": 8}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Two megabytes, and no more."""
    folder = tmp_path / "disk"
    folder.mkdir(mode=0o700)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small disk needs the right to mount one (root)")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@contextlib.contextmanager
def full(disk: Path) -> Iterator[None]:
    """Not a byte is left."""
    filler = disk / "filler"
    with open(filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (2**16, 512, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))
    try:
        yield
    finally:
        filler.unlink()


@contextlib.contextmanager
def read_only(disk: Path) -> Iterator[None]:
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)


def stored(number: int) -> StoredResponse:
    return StoredResponse(f"resp_{number}", None, "completed", {"output": [], "text": "x" * 20_000}, [])


def test_fault_36_a_full_disk_refuses_and_spoils_nothing(small_disk: Path) -> None:
    async def check() -> None:
        async with opened(small_disk) as storage:
            await storage.responses.put("t", stored(0))
            with full(small_disk):
                await refused(storage.responses.put("t", stored(1)))
                await refused(storage.responses.put("t", stored(1)))
                incoming = await storage.files.begin()
                await refused(on_disk(lambda: incoming.write(bytes(2**20))))
                incoming.discard()
                assert await storage.responses.get("t", "resp_0") is not None
                assert await storage.responses.get("t", "resp_1") is None
            await storage.responses.put("t", stored(2))
            assert await storage.responses.get("t", "resp_2") is not None
            assert list((small_disk / "files").iterdir()) == []

    asyncio.run(check())
    assert integrity(small_disk) == "ok"


async def refused(work: Awaitable[None]) -> None:
    with pytest.raises(ApiError) as error:
        await work
    assert (error.value.status, error.value.code) == (507, "storage_full")


def integrity(folder: Path) -> str:
    with contextlib.closing(sqlite3.connect(folder / "service.sqlite")) as connection:
        return connection.execute("PRAGMA integrity_check").fetchone()[0]


def test_fault_36_a_disk_that_was_full_at_the_start_is_tried_again(small_disk: Path) -> None:
    async def check() -> None:
        with full(small_disk):
            async with opened(small_disk) as storage:
                with pytest.raises(ApiError) as error:
                    await storage.responses.put("t", stored(0))
                assert error.value.status == 507
        async with opened(small_disk) as storage:
            await storage.responses.put("t", stored(0))

    asyncio.run(check())
    assert integrity(small_disk) == "ok"


def test_fault_36_a_read_only_disk_is_used_again_once_it_can_be_written(small_disk: Path) -> None:
    async def check() -> None:
        async with opened(small_disk) as storage:
            await storage.responses.put("t", stored(0))
        async with opened(small_disk) as storage:
            with read_only(small_disk):
                with pytest.raises(ApiError) as error:
                    await storage.responses.put("t", stored(1))
                assert (error.value.status, error.value.code) == (507, "storage_unavailable")
            await storage.responses.put("t", stored(1))
            assert await storage.responses.get("t", "resp_0") is not None

    asyncio.run(check())


@pytest.mark.slow
def test_fault_36_a_service_on_a_full_disk_answers_what_needs_none(small_disk: Path) -> None:
    with running(None, APHRODITE_DATA_DIR=str(small_disk)) as service, service.client() as client:
        with openai.OpenAI(base_url=service.url + "/v1", api_key="none", max_retries=0) as sdk:
            made = client.post("/v1/responses", json=ASKED).json()["id"]
            with full(small_disk):
                check_full(client)
                assert client.get(f"/v1/responses/{made}").status_code == 200
            assert client.post("/v1/responses", json=ASKED | {"previous_response_id": made}).status_code == 200
            batch = begin(
                sdk,
                [
                    line(f"r{number}", ignore_eos=True, max_tokens=200, messages=[{"role": "user", "content": "x"}])
                    for number in range(60)
                ],
            )
            wait_for(lambda: sdk.batches.retrieve(batch.id).status == "in_progress", 20)
            with full(small_disk):
                wait_for(lambda: "waits" in service.log, 30)
                assert client.get("/health").status_code == 200
            done = ended(sdk, batch, 90)
            assert len(results(sdk, done.output_file_id)) == 60
        assert "Traceback" not in service.log
    assert integrity(small_disk) == "ok"


def check_full(client: httpx2.Client) -> None:
    chat = {"model": "demo", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2}
    assert client.post("/v1/chat/completions", json=chat).status_code == 200
    assert client.post("/v1/responses", json=ASKED | {"store": False}).status_code == 200
    upload = {"data": {"purpose": "user_data"}, "files": {"file": ("a", bytes(2**20))}}
    for answer in (
        client.post("/v1/responses", json=ASKED),
        client.post("/v1/responses", json=ASKED | {"background": True}),
        client.post("/v1/conversations", json={"items": [{"role": "user", "content": "x" * 100_000}]}),
        client.post("/v1/files", **upload),
    ):
        assert answer.status_code == 507, answer.text
        assert answer.json()["error"]["code"] == "storage_full"
        assert str(Path("/tmp")) not in answer.text
    events = client.post("/v1/responses", json=ASKED | {"stream": True}).text
    assert "event: response.failed" in events and "event: response.completed" not in events
    assert client.get("/health").status_code == 200
