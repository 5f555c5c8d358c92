"""`POST /v1/messages` and `/v1/messages/count_tokens`."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncGenerator
from typing import Any

from aphrodite.service.anthropic import errors, shapes
from aphrodite.service.anthropic.blocks import BlockWriter
from aphrodite.service.anthropic.request import Conversation, MessagesRequest
from aphrodite.service.anthropic.turns import sampling_of, turn_of
from aphrodite.service.http.call import Call
from aphrodite.service.http.endpoint import Endpoint
from aphrodite.service.http.replies import EventStream, json_reply, named_event
from aphrodite.service.turn import conversation
from aphrodite.service.turn.conversation import Answer, Finish, Reply


async def create(call: Call) -> Any:
    request = await call.json(MessagesRequest)
    answer = await conversation.start(call, turn_of(request, sampling_of(request)))
    try:
        writer = MessageWriter(request, answer)
        if request.stream:
            return EventStream(writer.events(), errors.event_of)
        return json_reply(await call.until_gone(writer.whole()))
    except BaseException:
        answer.abort()
        raise


async def count_tokens(call: Call) -> Any:
    turn = turn_of(await call.json(Conversation))
    prompt = await conversation.prompt_of(call, turn)
    return json_reply(shapes.TokenCount(len(prompt.token_ids)))


class MessageWriter:
    """An answer in this protocol's words, whole or as events."""

    def __init__(self, request: MessagesRequest, answer: Answer) -> None:
        self.request, self.answer = request, answer
        self.id = "msg_" + secrets.token_hex(12)

    async def whole(self) -> shapes.Message:
        """The message, once it is there."""
        (reply,) = await self.answer.replies()
        return self._message(_content(reply), reply.finish)

    async def events(self) -> AsyncGenerator[bytes]:
        """What builds it; closing the generator aborts the request."""
        blocks = BlockWriter()
        try:
            yield _written(shapes.MessageStart(self._message([], None)), shapes.Ping())
            async for batch in self.answer.batches():
                for news in batch:
                    events = [event for delta in news.deltas for event in blocks.add(delta)]
                    if news.finish:
                        events += [*blocks.close(), self._end(news.finish), shapes.MessageStop()]
                    yield _written(*events)
        finally:
            self.answer.abort()

    def _message(self, content: list[shapes.Content], finish: Finish | None) -> shapes.Message:
        reason, sequence = self._reason(finish) if finish else (None, None)
        return shapes.Message(
            id=self.id,
            model=self.request.model,
            content=content,
            stop_reason=reason,
            stop_sequence=sequence,
            usage=self._usage(),
            seed=self.answer.admitted.seed,
        )

    def _end(self, finish: Finish) -> shapes.MessageDelta:
        return shapes.MessageDelta(shapes.StopDelta(*self._reason(finish)), self._usage())

    def _reason(self, finish: Finish) -> tuple[str, str | None]:
        """Why it ended, and the stop sequence that ended it."""
        if finish.reason == "tool_calls":
            return "tool_use", None
        if finish.reason == "length" and finish.stopped_by is None:
            is_full = self.answer.usage().completion_tokens < self.request.max_tokens
            return "model_context_window_exceeded" if is_full else "max_tokens", None
        if finish.reason == "length":
            return "max_tokens", None
        if isinstance(finish.stopped_by, str):
            return "stop_sequence", finish.stopped_by
        return "end_turn", None

    def _usage(self) -> shapes.Usage:
        counts = self.answer.usage()
        cached = counts.prompt_tokens_details.cached_tokens
        return shapes.Usage(counts.prompt_tokens - cached, counts.completion_tokens, cached)


def _content(reply: Reply) -> list[shapes.Content]:
    content: list[shapes.Content] = []
    if reply.reasoning:
        content.append(shapes.ThinkingContent(reply.reasoning))
    if reply.text:
        content.append(shapes.TextContent(reply.text))
    cut = reply.finish.reason == "length"
    return [*content, *(shapes.ToolUseContent(c.id, c.name, _input(c.arguments, cut)) for c in reply.tool_calls)]


def _input(arguments: str, cut: bool) -> dict[str, Any]:
    """Arguments of a call; of one that the token limit cut there may be no whole object yet."""
    try:
        return json.loads(arguments or "{}")
    except json.JSONDecodeError:
        if cut:
            return {}
        raise


def _written(*events: shapes.Event) -> bytes:
    return b"".join(named_event(str(event.__struct_config__.tag), event) for event in events)


ENDPOINTS = (
    Endpoint("POST", "/v1/messages", create, "Answer a conversation, in Anthropic's shape.", request=MessagesRequest,
             answer=shapes.Message, events=shapes.Event, error=errors.ErrorAnswer, is_work=True, tag="Anthropic"),
    Endpoint("POST", "/v1/messages/count_tokens", count_tokens, "How many tokens a conversation is.",
             request=Conversation, answer=shapes.TokenCount, error=errors.ErrorAnswer, is_work=True, tag="Anthropic"),
)  # fmt: skip
