"""Runs the batches of a service in the background, behind everybody who waits for an answer."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Iterable

import msgspec
from msgspec import Raw
from starlette.types import Message, Scope

from aphrodite.service.access import User
from aphrodite.service.access.keys import MAX_PRIORITY
from aphrodite.service.errors import ApiError
from aphrodite.service.http import wire
from aphrodite.service.http.endpoint import Endpoint, application
from aphrodite.service.openai.batches.results import LineResponse, new_request_id
from aphrodite.service.openai.batches.run import WORKERS, BatchRun
from aphrodite.service.service import Service
from aphrodite.service.storage.batches import StoredBatch

logger = logging.getLogger("aphrodite.batches")

#: What a batch may be made of.
URLS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses")
#: Added to the priority of who asked: later than every interactive request of anybody; lower runs first.
PRIORITY = 2 * MAX_PRIORITY + 1
#: How often to look for batches that another service left, or that a full disk had stopped.
_LOOK_SECONDS = 15.0
#: Answers that say "not now".
_NOT_NOW = frozenset((429, 503, 507))
#: A line that was running whenever the engine died is not asked again after so many times: it may be the reason.
_MAX_LOST = 5
_REVOKED = ApiError(401, "the key that asked for this batch was revoked", code="invalid_api_key")
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.25, 5.0


class BatchRunner:
    """Finds unfinished batches and runs them, a bounded number of lines at a time over all of them.

    Lines go through the same route handlers as HTTP requests.
    """

    def __init__(self, service: Service, endpoints: Iterable[Endpoint]) -> None:
        self._service = service
        self._routes = {e.path: application(e, service) for e in endpoints if e.path in URLS and e.method == "POST"}
        self._at_once = asyncio.Semaphore(WORKERS)
        self._running: dict[str, tuple[BatchRun, asyncio.Task[None]]] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, with what was left when the service ended."""
        self._task = asyncio.create_task(self._look_again_and_again())

    async def stop(self) -> None:
        """Leave everything as it is; the next start goes on from there."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        tasks = [task for _, task in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ---- batches

    async def _look_again_and_again(self) -> None:
        changed = self._service.storage.batches.changed
        while True:
            changed.clear()
            try:
                await self._look()
            except ApiError as error:  # the storage has written down why; the next look may find it well again
                logger.warning("batches wait: %s", error)
            except Exception:  # the outermost frame of this loop, which must not end before the service does
                logger.exception("the look for batches failed")
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    await changed.wait()
            except TimeoutError:
                continue

    async def _look(self) -> None:
        for batch in await self._service.storage.batches.unfinished():
            if batch.id in self._running:
                if batch.status == "cancelling":
                    self._running[batch.id][0].cancel()
            elif (ours := await self._taken(batch)) is not None:
                run = BatchRun(ours, self._service.storage, self._ask, self._service.settings.max_body_bytes)
                self._running[batch.id] = run, asyncio.create_task(self._run(run))

    async def _taken(self, batch: StoredBatch) -> StoredBatch | None:
        """The batch, if it is this service's to run: its own, or one whose service is gone and whose model is here."""
        batches = self._service.storage.batches
        if batches.is_ours(batch):
            return batch
        model = batch.details.model
        if not batches.is_orphan(batch) or (model is not None and model not in self._service.models.names()):
            return None
        return await batches.adopt(batch)

    async def _run(self, run: BatchRun) -> None:
        try:
            await run.run()
        except ApiError as error:
            logger.warning("%s waits: %s", run.batch.id, error)
        except Exception:  # the outermost frame of a batch: our own mistake, tried again at the next look
            logger.exception("%s failed and waits", run.batch.id)
        finally:
            del self._running[run.batch.id]

    # ---- lines

    async def _ask(self, batch: StoredBatch, body: bytes) -> LineResponse:
        """The answer to one line, once the service can give it."""
        wait, lost = _FIRST_WAIT_SECONDS, 0
        while True:
            async with self._at_once:
                response = await self._answer(batch, body)
            if response.status_code not in _NOT_NOW:
                return response
            lost += _code(response) == "engine_lost"
            if lost == _MAX_LOST:
                return response
            await asyncio.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT_SECONDS)

    async def _answer(self, batch: StoredBatch, body: bytes) -> LineResponse:
        user = self._user(batch)
        if user is None:
            return LineResponse(401, new_request_id(), Raw(wire.encode(_REVOKED.body)))
        request = _Request(batch.endpoint, body, dataclasses.replace(user, priority=user.priority + PRIORITY))
        await self._routes[batch.endpoint](request.scope, request.receive, request.send)
        return request.response

    def _user(self, batch: StoredBatch) -> User | None:
        """Who asked for the batch, as long as the key is good."""
        for user in self._service.accounts.users():
            if (user.name, user.tenant) == (batch.user, batch.tenant) and not user.meter.revoked:
                return user
        return None


class _Request:
    """An HTTP request that nobody sent."""

    def __init__(self, path: str, body: bytes, user: User) -> None:
        self.id = new_request_id()
        self.scope: Scope = {
            "type": "http", "method": "POST", "path": path, "query_string": b"", "path_params": {},
            "headers": [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))],
            "user": user, "request_id": self.id,
        }  # fmt: skip
        self._body: bytes | None = body
        self._status = 0
        self._answer: list[bytes] = []

    async def receive(self) -> Message:
        if self._body is None:
            await asyncio.Event().wait()  # this client never goes away
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
        else:
            self._answer.append(message.get("body", b""))

    @property
    def response(self) -> LineResponse:
        return LineResponse(self._status, self.id, Raw(b"".join(self._answer)))


class _Error(msgspec.Struct):
    code: str | None = None


class _ErrorAnswer(msgspec.Struct):
    error: _Error


def _code(response: LineResponse) -> str | None:
    return msgspec.json.decode(response.body, type=_ErrorAnswer).error.code
