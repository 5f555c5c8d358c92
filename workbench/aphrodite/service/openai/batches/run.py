"""One batch on its way: its lines are read, asked, and written down, however often it is interrupted."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any, BinaryIO

import msgspec

from aphrodite.service.errors import ApiError
from aphrodite.service.openai.batches.input import CheckedLine, LineReader, read_line
from aphrodite.service.openai.batches.results import LineResponse, answered, refused, refused_for, write_results
from aphrodite.service.storage.batch_lines import Line, Result
from aphrodite.service.storage.batches import BatchError, StoredBatch
from aphrodite.service.storage.files import on_disk
from aphrodite.service.storage.storage import Storage

logger = logging.getLogger("aphrodite.batches")

Ask = Callable[[StoredBatch, bytes], Awaitable[LineResponse]]

#: Lines of one batch that are asked at the same time.
WORKERS = 16
_FETCHED_AT_ONCE = 4 * WORKERS
_ENDED_AT_ONCE = 1000
_CLOSING = {
    "batch_expired": "the batch expired before this line was answered",
    "batch_cancelled": "the batch was cancelled before this line was answered",
}


class BatchRun:
    """Runs one batch from whatever state it is in to its end.

    Args:
        ask: a line's body -> its answer; waits while the service cannot take it.
        line_limit: bytes of one line.
    """

    def __init__(self, batch: StoredBatch, storage: Storage, ask: Ask, line_limit: int) -> None:
        self.batch = batch
        self._storage, self._ask, self._line_limit = storage, ask, line_limit
        self._work: asyncio.Task[None] | None = None
        self._is_cancelled = self._is_expired = False
        self._fetched: deque[Line] = deque()
        self._fetching = asyncio.Lock()
        self._last_fetched = 0

    def cancel(self) -> None:
        """Somebody has cancelled the batch: answer no more of its lines."""
        self._is_cancelled = True
        if self._work is not None:
            self._work.cancel()

    async def run(self) -> None:
        """Until it is completed, failed, expired or cancelled.

        Raises:
            ApiError: the storage fails; a later run goes on from here.
        """
        if self.batch.status in ("validating", "in_progress"):
            try:
                file = await self._storage.files.open(self.batch.input_file)
            except ApiError as error:
                if isinstance(error.__cause__, FileNotFoundError):
                    return await self._fail("input_file_missing", "the input file is gone")
                raise
            with file:
                await self._while_wanted(self._answer_all(file))
        if self.batch.status != "failed":
            await self._end()

    async def _while_wanted(self, work: Coroutine[Any, Any, None]) -> None:
        """Do the work until it is done, the batch is cancelled, or it expires."""
        self._work = asyncio.create_task(work)
        if self._is_cancelled:
            self._work.cancel()
        try:
            done, _ = await asyncio.wait(
                {self._work}, timeout=max(0.0, self.batch.expires - self._storage.batches.clock())
            )
            self._is_expired = not done
        finally:
            self._work.cancel()
            await asyncio.wait({self._work})
        if not self._work.cancelled():
            self._work.result()

    # ---- lines

    async def _answer_all(self, file: BinaryIO) -> None:
        if self.batch.status == "validating":
            await self._read_all(file)
        if self.batch.status != "in_progress":
            return
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(WORKERS):
                    group.create_task(self._answer_some(file))
        except* ApiError as errors:
            raise errors.exceptions[0] from None

    async def _read_all(self, file: BinaryIO) -> None:
        """Check every line; those that are wrong have their result at once."""
        lines, batch = self._storage.batch_lines, self.batch
        await lines.restart(batch.id)
        reader = LineReader(file, batch.endpoint, self._line_limit)
        while found := await on_disk(reader.take):
            await self._store(found)
        if await lines.count(batch.id) == 0:
            return await self._fail("empty_file", "the input file holds no lines")
        await self._advance("in_progress")

    async def _store(self, found: list[CheckedLine]) -> None:
        rows = [Line(one.raw.number, one.raw.start, one.raw.length, one.custom_id) for one in found]
        wrong = [refused_for(one.raw.number, one.custom_id, one.error) for one in found if one.error is not None]
        for again in await self._storage.batch_lines.add(self.batch.id, rows):
            message = f"line {again.number}: the custom_id {again.custom_id!r} was there before"
            wrong.append(refused(again.number, again.custom_id, "duplicate_custom_id", message))
        await self._storage.batch_lines.put(self.batch.id, wrong)
        if self.batch.details.model is None:
            model = next((one.model for one in found if one.model is not None), None)
            self.batch = replace(self.batch, details=msgspec.structs.replace(self.batch.details, model=model))

    async def _answer_some(self, file: BinaryIO) -> None:
        while (line := await self._next()) is not None:
            request = await on_disk(lambda line=line: read_line(file.fileno(), line.start, line.length))
            response = await self._ask(self.batch, bytes(request.body))
            await self._storage.batch_lines.put(self.batch.id, [answered(line.number, line.custom_id, response)])

    async def _next(self) -> Line | None:
        async with self._fetching:
            if not self._fetched:
                found = await self._storage.batch_lines.to_do(self.batch.id, self._last_fetched, _FETCHED_AT_ONCE)
                self._fetched.extend(found)
                self._last_fetched = found[-1].number if found else self._last_fetched
            return self._fetched.popleft() if self._fetched else None

    # ---- the end

    async def _end(self) -> None:
        if self.batch.status in ("validating", "in_progress"):
            ending = "expired" if self._is_expired else "completed"
            details = msgspec.structs.replace(self.batch.details, ending=ending)
            self.batch = replace(self.batch, details=details)
            await self._advance("finalizing")  # unless somebody has cancelled it at the last moment
        await self._close("cancelled" if self.batch.status == "cancelling" else self.batch.details.ending)

    async def _close(self, status: str) -> None:
        """Write the files, say so, forget the lines."""
        batch, lines, files = self.batch, self._storage.batch_lines, self._storage.files
        if status != "completed":
            await lines.count(batch.id)
            await self._give_up_the_rest(f"batch_{status}")
        details = msgspec.structs.replace(
            batch.details,
            output_file_id=await write_results(lines, files, batch.tenant, batch.id, succeeded=True),
            error_file_id=await write_results(lines, files, batch.tenant, batch.id, succeeded=False),
        )
        self.batch = replace(batch, details=details)
        await self._advance(status)
        await lines.forget(batch.id)

    async def _give_up_the_rest(self, code: str) -> None:
        lines, batch = self._storage.batch_lines, self.batch
        while left := await lines.to_do(batch.id, 0, _ENDED_AT_ONCE):
            results: list[Result] = [refused(line.number, line.custom_id, code, _CLOSING[code]) for line in left]
            await lines.put(batch.id, results)

    async def _fail(self, code: str, message: str) -> None:
        details = msgspec.structs.replace(self.batch.details, errors=[BatchError(code, message)])
        self.batch = replace(self.batch, details=details)
        await self._advance("failed")

    async def _advance(self, status: str) -> None:
        self.batch = await self._storage.batches.advance(self.batch, status)
        logger.info("%s is %s", self.batch.id, self.batch.status)
