"""What is kept, and by whom it can be seen: the storage alone, without a service around it."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aphrodite.service.access import User
from aphrodite.service.errors import ApiError
from aphrodite.service.storage.batch_lines import Line, Result
from aphrodite.service.storage.conversations import ConversationStore
from aphrodite.service.storage.pages import PageRequest
from aphrodite.service.storage.responses import MissingLink, StoredResponse
from aphrodite.service.storage.schema import MIGRATIONS
from aphrodite.service.storage.storage import Storage

NASTY = "'; DROP TABLE messages; -- \" OR 1=1"


@contextlib.asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Storage]:
    storage = Storage(folder)
    try:
        yield storage
    finally:
        await storage.close()


def message(number: int) -> dict[str, str]:
    return {"role": "user", "content": f"number {number}"}


def response(response_id: str, status: str = "completed", previous: str | None = None) -> StoredResponse:
    item = {"id": f"msg_of_{response_id}", "type": "message"}
    return StoredResponse(response_id, previous, status, {"id": response_id, "status": status, "output": []}, [item])


# ---- the contract of a conversation store, for every database that will keep one


async def check_contract(mine: ConversationStore, theirs: ConversationStore) -> None:
    assert await mine.retrieve_context("never begun") == []
    for number in range(6):
        await mine.store_conversation("s", [message(2 * number), message(2 * number + 1)])
    assert await mine.retrieve_context("s", limit=3) == [message(9), message(10), message(11)]
    assert await mine.retrieve_context("s", limit=100) == [message(number) for number in range(12)]
    assert len(await mine.retrieve_context("s")) == 10
    assert await mine.retrieve_context("s", limit=0) == []
    assert await theirs.retrieve_context("s") == []
    await theirs.store_conversation("s", [message(99)])
    assert await theirs.retrieve_context("s") == [message(99)]
    for name in (NASTY, "", "ü\u202e\x00", "x" * 10_000):
        await mine.store_conversation(name, [{"role": "user", "content": name}])
        assert await mine.retrieve_context(name) == [{"role": "user", "content": name}]
    assert len(await mine.retrieve_context("s", limit=100)) == 12
    with pytest.raises(ValueError, match="limit"):
        await mine.retrieve_context("s", limit=-1)


def test_fault_27_sqlite_keeps_the_contract_of_a_conversation_store(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path) as storage:
            await check_contract(storage.conversation_store("mine"), storage.conversation_store(NASTY))
        async with opened(tmp_path) as storage:  # and after a restart
            found = await storage.conversation_store("mine").retrieve_context("s", limit=100)
            assert found == [message(number) for number in range(12)]

    asyncio.run(check())


# ---- the file


def test_only_the_owner_can_read_the_files(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path) as storage:
            incoming = await storage.files.begin()
            incoming.write(b"secret")
            await storage.files.keep("mine", incoming, "a.txt", "user_data")
            for path in tmp_path.rglob("*"):
                mode = stat.S_IMODE(path.stat().st_mode)
                assert mode == (0o700 if path.is_dir() else 0o600), path

    asyncio.run(check())
    assert {path.name for path in tmp_path.iterdir()} >= {"service.sqlite", "files", "instances"}


def test_a_file_of_a_newer_program_is_left_alone(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "service.sqlite")) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")

    async def check() -> None:
        async with opened(tmp_path) as storage:
            with pytest.raises(ApiError, match="its log says more") as refused:
                await storage.responses.get("mine", "resp_1")
            assert refused.value.status == 507

    asyncio.run(check())
    with contextlib.closing(sqlite3.connect(tmp_path / "service.sqlite")) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "service.sqlite").write_bytes(b"these are my notes" * 100)

    async def check() -> None:
        async with opened(tmp_path) as storage:
            with pytest.raises(ApiError) as refused:
                await storage.responses.put("mine", response("resp_1"))
            assert refused.value.status == 507

    asyncio.run(check())
    assert (tmp_path / "service.sqlite").read_bytes().startswith(b"these are my notes")


def test_two_services_write_the_same_file(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path) as one, opened(tmp_path) as other:
            stores = [one.conversation_store("t"), other.conversation_store("t")]
            await asyncio.gather(*(s.store_conversation("s", [message(n)]) for n in range(50) for s in stores))
            assert len(await stores[0].retrieve_context("s", limit=1000)) == 100

    asyncio.run(check())


# ---- responses


def test_a_conversation_is_the_chain_of_its_responses(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path) as storage:
            responses = storage.responses
            await responses.put("t", response("a"))
            await responses.put("t", response("b", previous="a"))
            await responses.put("t", response("c", previous="b"))
            assert [i["id"] for i in await responses.items_until("t", "c")] == ["msg_of_a", "msg_of_b", "msg_of_c"]
            with pytest.raises(MissingLink):
                await responses.items_until("someone else", "c")
            assert await responses.delete("t", "a")
            with pytest.raises(MissingLink) as missing:
                await responses.items_until("t", "c")
            assert missing.value.response_id == "a"

    asyncio.run(check())


def test_what_a_dead_service_was_making_has_failed(tmp_path: Path) -> None:
    program = f"""
import asyncio, os, sys
from pathlib import Path
from tests.service.test_storage import Storage, response
async def main():
    storage = Storage(Path({str(tmp_path)!r}))
    await storage.responses.put("t", response("resp_1", "in_progress"))
    await storage.responses.put("t", response("resp_2"))
    print("ready", flush=True)
    sys.stdin.read()
    os.kill(os.getpid(), 9)
asyncio.run(main())
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None and process.stdout is not None
    with process, process.stdin, process.stdout:
        assert process.stdout.readline() == b"ready\n"
        assert asyncio.run(status_of(tmp_path, "resp_1")) == "in_progress"
        process.stdin.close()
        process.wait(10)
    assert asyncio.run(status_of(tmp_path, "resp_1")) == "failed"
    assert asyncio.run(status_of(tmp_path, "resp_2")) == "completed"


async def status_of(folder: Path, response_id: str) -> str | None:
    async with opened(folder) as storage:
        found = await storage.responses.get("t", response_id)
        assert found is None or found.body["status"] == found.status
        return found and found.status


def test_a_cancelled_response_stays_cancelled(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path) as storage:
            await storage.responses.put("t", response("resp_1", "queued"))
            await storage.responses.finish("t", "resp_1", "cancelled", {"status": "cancelled", "output": []})
            await storage.responses.put("t", response("resp_1", "completed"))
            found = await storage.responses.get("t", "resp_1")
            assert found is not None and found.status == "cancelled"

    asyncio.run(check())


# ---- files and batches


def test_files_are_listed_in_pieces(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path) as storage:
            ids = []
            for number in range(5):
                incoming = await storage.files.begin()
                incoming.write(b"x" * number)
                ids.append((await storage.files.keep("t", incoming, "same name", "batch")).id)
            first = await storage.files.page("t", None, PageRequest(2))
            assert first is not None and first.has_more and [f.id for f in first.rows] == [ids[4], ids[3]]
            rest = await storage.files.page("t", "batch", PageRequest(10, "desc", ids[3]))
            assert rest is not None and not rest.has_more and [f.bytes for f in rest.rows] == [2, 1, 0]
            assert await storage.files.page("t", None, PageRequest(2, "asc", "file-unknown")) is None
            assert await storage.files.page("other", None, PageRequest(2, "asc", ids[0])) is None

    asyncio.run(check())


def test_a_line_of_a_batch_counts_once(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path) as storage:
            batch = await storage.batches.create(User(), "/v1/embeddings", "file-1", 60, None)
            lines = [Line(1, 0, 10, "a"), Line(2, 10, 10, "b"), Line(3, 20, 10, "a")]
            assert await storage.batch_lines.add(batch.id, lines) == [lines[2]]
            assert await storage.batch_lines.count(batch.id) == 3
            for text in (b"first", b"second"):
                await storage.batch_lines.put(batch.id, [Result(1, True, text), Result(3, False, text)])
            assert await storage.batch_lines.results(batch.id, True, 0) == [(1, b"first")]
            assert [line.number for line in await storage.batch_lines.to_do(batch.id, 0, 10)] == [2]
            found = await storage.batches.get("local", batch.id)
            assert found is not None and (found.total, found.completed, found.failed) == (3, 1, 1)

    asyncio.run(check())


def test_bytes_that_nobody_names_are_swept(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path) as storage:
            incoming = await storage.files.begin()
            incoming.write(b"kept")
            kept = await storage.files.keep("t", incoming, "a", "batch")
            # What a service leaves that dies in the middle of an upload, or between its end and the table.
            (tmp_path / "files" / "0123.partial").write_bytes(b"x")
            (tmp_path / "files" / "file-orphan").write_bytes(b"x")
            await storage.files.sweep()
            assert len(list((tmp_path / "files").iterdir())) == 3, "they may still be written"
            for path in (tmp_path / "files").iterdir():
                subprocess.run(["touch", "-d", "2 days ago", path], check=True)
            await storage.files.sweep()
            assert [path.name for path in (tmp_path / "files").iterdir()] == [kept.id]

    asyncio.run(check())
