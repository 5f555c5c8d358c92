"""One response from its first event to its last."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import msgspec

from aphrodite.service.background import Job
from aphrodite.service.errors import ApiError
from aphrodite.service.http.call import Call
from aphrodite.service.openai.responses.items import Item
from aphrodite.service.openai.responses.output import Output
from aphrodite.service.openai.responses.shapes import (
    IncompleteDetails,
    Response,
    ResponseError,
    response_usage,
)
from aphrodite.service.storage.responses import StoredResponse
from aphrodite.service.turn.conversation import Answer, Finish

_INTERRUPTED = ResponseError("server_error", "the service ended while it worked on this response")


@dataclass(frozen=True)
class Asked:
    """What a response answers.

    Attributes:
        input: the items that are new with it.
        previous: the response it goes on from.
        conversation: where input and output are added.
    """

    input: list[Item]
    previous: str | None = None
    conversation: str | None = None


class ResponseRun:
    """Makes one response of an admitted answer, and stores it.

    Attributes:
        response: as far as it is.
    """

    def __init__(self, call: Call, asked: Asked, response: Response, answer: Answer) -> None:
        self.response = response
        self._call, self._asked, self._answer = call, asked, answer
        self._output = Output(response.top_logprobs)
        response.output = self._output.items

    async def whole(self) -> Response:
        """All of it.

        Raises:
            ApiError: the engine, or the storage, failed.
        """
        async with contextlib.aclosing(self._steps()) as steps:
            async for _ in steps:
                pass
        return self.response

    async def stream(self) -> AsyncGenerator[bytes]:
        """Its events; a failure is told by the last two of them."""
        async with contextlib.aclosing(self._told()) as events:
            async for event in events:
                yield b"".join(event)

    async def in_background(self, job: Job) -> None:
        """The same for whoever follows the job's log."""
        async with contextlib.aclosing(self._told()) as steps:
            async for events in steps:
                for event in events:
                    await job.log.append(event)

    async def store(self) -> None:
        """Keep it as it is now, if it is to be kept.

        Raises:
            ApiError: 507.
        """
        if self.response.store:
            response = self.response
            body = msgspec.to_builtins(response)
            stored = StoredResponse(response.id, self._asked.previous, response.status, body, self._asked.input)
            await self._call.service.storage.responses.put(self._call.user.tenant, stored)

    def error_event(self, error: ApiError) -> bytes:
        """A failure in the middle of a stream."""
        return self._output.event("error", code=error.code, message=error.message, param=error.param)

    async def _told(self) -> AsyncGenerator[list[bytes]]:
        try:
            async with contextlib.aclosing(self._steps()) as steps:
                async for events in steps:
                    yield events
        except ApiError as error:
            yield [self.error_event(error), self._snapshot("failed")]

    async def _steps(self) -> AsyncGenerator[list[bytes]]:
        """Events, those of one step together."""
        try:
            yield self._begin()
            async with contextlib.aclosing(self._answer.batches()) as batches:
                async for batch in batches:
                    await self._note_progress()
                    finish = None
                    events = []
                    for news in batch:
                        events += self._output.add(news)
                        finish = news.finish or finish
                    yield events if finish is None else events + await self._finish(finish)
        except ApiError as error:
            await self._fail(error)
            raise
        finally:
            self._answer.abort()
            await self._give_up()

    def _begin(self) -> list[bytes]:
        queued = [self._snapshot("queued")] if self.response.background else []
        return [self._snapshot("created"), *queued, self._snapshot("in_progress")]

    async def _note_progress(self) -> None:
        if self.response.status == "queued":
            self.response.status = "in_progress"
            await self.store()

    async def _finish(self, finish: Finish) -> list[bytes]:
        """The last events, once everything is stored: who reads them may go on from here at once."""
        response = self.response
        status = "incomplete" if finish.reason == "length" else "completed"
        events = self._output.close(status)
        if status == "incomplete":
            response.incomplete_details = IncompleteDetails("max_output_tokens")
        else:
            response.completed_at = int(time.time())
        response.usage = response_usage(self._answer.usage())
        response.status = status
        await self.store()
        await self._continue_conversation()
        return [*events, self._snapshot(status)]

    async def _continue_conversation(self) -> None:
        conversation = self._asked.conversation
        if conversation is not None:
            items = [*self._asked.input, *msgspec.to_builtins(self._output.items)]
            await self._call.service.storage.conversations.add_items(self._call.user.tenant, conversation, items)

    async def _fail(self, error: ApiError) -> None:
        self.response.status = "failed"
        self.response.completed_at = None
        self.response.error = ResponseError("server_error", error.message)
        await self._store_the_end()

    async def _give_up(self) -> None:
        """Where it was left in the middle: the caller has gone, or the service ends."""
        if self.response.status in ("queued", "in_progress"):
            self.response.status = "failed" if self.response.background else "cancelled"
            self.response.error = _INTERRUPTED if self.response.background else None
            await self._store_the_end()

    async def _store_the_end(self) -> None:
        try:
            await self.store()
        except ApiError:  # the storage has written down why, and nobody could be told more than they are told already
            return

    def _snapshot(self, kind: str) -> bytes:
        return self._output.event(f"response.{kind}", response=self.response)
