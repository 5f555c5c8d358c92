"""What a tenant may keep, how long, and what a batch's window means: on a clock that the test moves."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from msgspec import Raw

from aphrodite.service.access import User
from aphrodite.service.errors import ApiError
from aphrodite.service.openai.batches.results import LineResponse
from aphrodite.service.openai.batches.run import BatchRun
from aphrodite.service.settings import ServiceSettings, StorageSettings
from aphrodite.service.storage.batches import StoredBatch
from aphrodite.service.storage.files import StoredFile
from aphrodite.service.storage.schema import MIGRATIONS
from aphrodite.service.storage.storage import Storage
from tests.service.running import DEMO, running
from tests.service.test_storage import message, response

DAY = 24 * 3600.0
DANA = User("dana", "dana")


class Clock:
    """Unix time, when the test says so."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def run(folder: Path, work: Callable[[Storage, Clock], Awaitable[None]], **settings: float) -> None:
    async def with_storage() -> None:
        clock = Clock()
        storage = Storage(folder, StorageSettings(**settings), clock)  # type: ignore[arg-type]
        try:
            await work(storage, clock)
        finally:
            await storage.close()

    asyncio.run(with_storage())


async def keep_file(storage: Storage, data: bytes, tenant: str = "dana") -> StoredFile:
    incoming = await storage.files.begin()
    try:
        incoming.write(data)
        return await storage.files.keep(tenant, incoming, "lines.jsonl", "batch")
    finally:
        incoming.discard()


def held(folder: Path) -> dict[str, tuple[int, int]]:
    connection = sqlite3.connect(folder / "service.sqlite")
    rows = connection.execute("SELECT kind, items, bytes FROM holdings WHERE tenant = 'dana'").fetchall()
    connection.close()
    return {kind: (items, size) for kind, items, size in rows}


def test_what_is_older_than_keep_days_is_deleted_with_its_bytes(tmp_path: Path) -> None:
    async def age(storage: Storage, clock: Clock) -> None:
        old, used = await keep_file(storage, b"old"), await keep_file(storage, b"{}")
        await storage.responses.put("dana", response("old"))
        talk = await storage.conversations.create("dana", {}, [message(1)])
        silent = await storage.conversations.create("dana", {}, [])
        batch = await storage.batches.create(DANA, "/v1/chat/completions", used.id, 86_400, None)
        ended = await storage.batches.create(DANA, "/v1/chat/completions", old.id, 86_400, None)
        await storage.batches.advance(ended, "completed")
        clock.now += 6 * DAY
        await storage.conversations.add_items("dana", talk.id, [message(2)])
        await storage.responses.put("dana", response("new"))
        assert await storage.retention.expire() == 0
        clock.now += 2 * DAY
        assert await storage.retention.expire() == 4
        assert await storage.files.get("dana", old.id) is None
        assert [path.name for path in (tmp_path / "files").iterdir()] == [used.id], "an unfinished batch reads it"
        assert await storage.responses.get("dana", "old") is None
        assert await storage.responses.get("dana", "new") is not None
        assert await storage.conversations.get("dana", silent.id) is None
        assert len(await storage.conversations.items("dana", talk.id) or ()) == 2, "it is as young as its last message"
        assert await storage.batches.get("dana", ended.id) is None
        assert await storage.batches.get("dana", batch.id) is not None
        clock.now += 30 * DAY
        await storage.batches.advance(batch, "completed")
        assert await storage.retention.expire() > 0
        assert {kind: items for kind, (items, _) in held(tmp_path).items()} == {
            "responses": 0, "messages": 0, "files": 0, "batches": 0,
        }  # fmt: skip
        assert {size for _, size in held(tmp_path).values()} == {0}

    run(tmp_path, age, keep_days=7)


def test_0_days_keep_everything(tmp_path: Path) -> None:
    async def age(storage: Storage, clock: Clock) -> None:
        kept = await keep_file(storage, b"old")
        clock.now += 10_000 * DAY
        assert await storage.retention.expire() == 0
        assert await storage.files.get("dana", kept.id) == kept

    run(tmp_path, age, keep_days=0)


def test_more_items_than_a_tenant_may_keep_are_refused_by_field_and_limit(tmp_path: Path) -> None:
    async def fill(storage: Storage, clock: Clock) -> None:
        made = await keep_file(storage, b"1")
        await keep_file(storage, b"2")
        for number in range(2):
            await storage.responses.check_room("dana")
            await storage.responses.put("dana", response(f"r{number}"))
            await storage.batches.create(DANA, "/v1/embeddings", made.id, 9, None)
        talk = await storage.conversations.create("dana", {}, [message(1), message(2)])
        refused: dict[str, Callable[[], Awaitable[object]]] = {
            "file": lambda: keep_file(storage, b"3"),
            "store": lambda: storage.responses.check_room("dana"),
            "items": lambda: storage.conversations.add_items("dana", talk.id, [message(3)]),
            "input_file_id": lambda: storage.batches.create(DANA, "/v1/embeddings", made.id, 9, None),
        }
        for field, more in refused.items():
            with pytest.raises(ApiError, match=f"^{field}: you would keep 3 .* max_items=2") as caught:
                await more()
            assert (caught.value.status, caught.value.param) == (403, field)
        await keep_file(storage, b"theirs", "erin")
        await storage.files.delete("dana", made.id)
        await keep_file(storage, b"room again")
        assert len(list((tmp_path / "files").iterdir())) == 3, "what was refused left no bytes"

    run(tmp_path, fill, max_items=2)


def test_bytes_count_over_all_kinds(tmp_path: Path) -> None:
    async def fill(storage: Storage, clock: Clock) -> None:
        await keep_file(storage, b"x" * 900)
        talk = await storage.conversations.create("dana", {}, [message(1)])
        with pytest.raises(ApiError, match="items: you would keep 1,097 bytes, the limit is max_bytes=1,000"):
            await storage.conversations.add_items("dana", talk.id, [{"text": "y" * 150}])
        assert len(await storage.conversations.items("dana", talk.id) or ()) == 1

    run(tmp_path, fill, max_bytes=1000)


def test_a_file_from_before_is_counted_and_ages_from_now_on(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "service.sqlite")
    for statement in MIGRATIONS[0]:
        connection.execute(statement)
    connection.execute("PRAGMA user_version = 1")
    connection.execute("INSERT INTO files VALUES (1, 'dana', 'file-1', 5, 'x', 'batch', 123)")
    connection.execute("INSERT INTO messages VALUES (1, 'dana', 's', 'm', '{}')")
    connection.commit()
    connection.close()

    async def look(storage: Storage, clock: Clock) -> None:
        assert await storage.conversation_store("dana").retrieve_context("s") == [{}]
        assert held(tmp_path) == {"files": (1, 123), "messages": (1, 2)}

    run(tmp_path, look)


# ---- a batch's window


def test_a_batch_expires_24_hours_after_it_was_made_and_keeps_what_was_answered(tmp_path: Path) -> None:
    lines = b"".join(
        b'{"custom_id": "r%d", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "demo"}}\n' % number
        for number in range(3)
    )

    async def expire(storage: Storage, clock: Clock) -> None:
        file = await keep_file(storage, lines)
        batch = await storage.batches.create(DANA, "/v1/chat/completions", file.id, 86_400, None)
        answered = 0

        async def ask(batch: StoredBatch, body: bytes) -> LineResponse:
            nonlocal answered
            answered += 1
            if answered > 1:
                await asyncio.Event().wait()
            usage = b'{"usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}}'
            return LineResponse(200, "batch_req_1", Raw(usage))

        clock.now += DAY - 0.5
        await asyncio.wait_for(BatchRun(batch, storage, ask, 10_000).run(), 20)
        clock.now += 0.5
        found = await storage.batches.get("dana", batch.id)
        assert found is not None and found.status == "expired"
        assert (found.total, found.completed, found.failed) == (3, 1, 2)
        assert (found.input_tokens, found.output_tokens) == (7, 3)
        assert found.details.error_file_id is not None
        with await storage.files.open(found.details.error_file_id) as errors:
            assert errors.read().count(b'"batch_expired"') == 2

    run(tmp_path, expire)


# ---- through the endpoint


def test_a_full_tenant_is_told_so_and_goes_on_without_storing() -> None:
    with running(ServiceSettings(models=(DEMO,), storage=StorageSettings(max_items=1))) as service:
        with service.client() as http:
            asked = {"model": "demo", "input": "What is 39 + 48?", "temperature": 0, "max_output_tokens": 8}
            assert http.post("/v1/responses", json=asked).status_code == 200
            refused = http.post("/v1/responses", json=asked)
            assert refused.status_code == 403
            assert refused.json()["error"]["param"] == "store"
            assert refused.json()["error"]["code"] == "storage_quota_exceeded"
            assert "max_items=1" in refused.json()["error"]["message"]
            assert http.post("/v1/responses", json=asked | {"store": False}).status_code == 200
