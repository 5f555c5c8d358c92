"""`POST /v1/chat/completions`."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator
from typing import Annotated, Any

from msgspec import UNSET

from aphrodite.service.engines.boundary import TokenLogprob
from aphrodite.service.errors import ApiError, bad_request
from aphrodite.service.http import wire
from aphrodite.service.http.call import Call
from aphrodite.service.http.endpoint import Endpoint
from aphrodite.service.http.replies import DONE, EventStream, data_event, json_reply
from aphrodite.service.openai.chat_shapes import (
    ChatChunk,
    ChatCompletion,
    Choice,
    ChunkChoice,
    Delta,
    FunctionCall,
    FunctionDelta,
    Message,
    MessageToolCall,
    ToolCallDelta,
)
from aphrodite.service.openai.completions.choices import prompt_logprobs
from aphrodite.service.openai.response_format import structured_outputs_of
from aphrodite.service.openai.sampling import checked, given_fields, told
from aphrodite.service.openai.shapes import ChoiceLogprobs, StreamOptions, Usage, content_logprob
from aphrodite.service.openai.unsupported import UnsupportedFields, refuse_fields_of_chat
from aphrodite.service.template_arguments import template_arguments
from aphrodite.service.turn import conversation
from aphrodite.service.turn.conversation import (
    Answer,
    News,
    ReasoningDelta,
    Reply,
    TextDelta,
    ToolArgumentsDelta,
    ToolCallStarted,
    Turn,
)
from aphrodite.service.turn.tools import ToolChoiceField, ToolDefinitions, choice_of, tools_of


class ChatRequest(UnsupportedFields, kw_only=True):
    """OpenAI's fields, and the engine's sampling fields beside them.

    Attributes:
        store, metadata, user, safety_identifier, prompt_cache_key: taken and not used: nothing of a chat is kept, and
            prefixes are cached anyway.
        parallel_tool_calls: false for one call at most.
        return_token_ids: tell the ids of prompt and answer.
    """

    model: str
    messages: list[dict[str, Any]]
    max_completion_tokens: Annotated[int, told(minimum=1, maximum=2**31 - 1)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, told(minimum=0, maximum=20)] | None = None
    tools: ToolDefinitions | None = None
    tool_choice: ToolChoiceField | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: str | None = None
    add_generation_prompt: bool = True
    chat_template_kwargs: dict[str, Any] | None = None
    return_token_ids: bool = False
    user: str | None = None
    metadata: dict[str, str] | None = None
    safety_identifier: str | None = None
    store: bool | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None


async def create(call: Call) -> Any:
    request = await call.json(ChatRequest)
    answer = await conversation.start(call, turn_of(request))
    try:
        completion = Completion(request, answer)
        if request.stream:
            return EventStream(completion.events())
        return json_reply(await call.until_gone(completion.whole()))
    except BaseException:
        answer.abort()
        raise


def turn_of(request: ChatRequest) -> Turn:
    """What is asked.

    Raises:
        ApiError: 400.
    """
    refuse_fields_of_chat(request)
    if request.stream and request.prompt_logprobs is not None:
        raise bad_request(
            "prompt_logprobs come with whole answers only, not in a stream", "prompt_logprobs", "invalid_value"
        )
    params = given_fields(request)
    limit = request.max_completion_tokens if request.max_completion_tokens is not None else request.max_tokens
    # OpenAI's default is no limit but the context's.
    params["max_tokens"] = limit
    params["logprobs"] = _logprobs(request)
    params.pop("structured_outputs", None)
    form = structured_outputs_of(request)
    return Turn(
        model=request.model,
        messages=request.messages,
        tools=tools_of(request.tools or []),
        tool_choice=choice_of(request.tool_choice),
        parallel_tool_calls=request.parallel_tool_calls is not False,
        structured_outputs=form.outputs if form else None,
        format_field=form.field if form else "structured_outputs",
        sampling=_checked(params, request),
        reasoning_effort=request.reasoning_effort,
        template=template_arguments(request.chat_template_kwargs or {}, "chat_template_kwargs"),
        add_generation_prompt=request.add_generation_prompt,
        return_token_ids=request.return_token_ids,
    )


def _checked(params: dict[str, Any], request: ChatRequest) -> dict[str, Any]:
    try:
        return checked(params)
    except ApiError as error:
        if error.param != "max_tokens" or request.max_completion_tokens is None:
            raise
        message = error.message.replace("max_tokens", "max_completion_tokens")
        raise bad_request(message, "max_completion_tokens", error.code) from None


def _logprobs(request: ChatRequest) -> int | None:
    if request.top_logprobs is not None and not request.logprobs:
        raise bad_request("top_logprobs needs logprobs=true", "top_logprobs", "invalid_value")
    if request.top_logprobs is not None and not 0 <= request.top_logprobs <= 20:
        raise bad_request(
            f"top_logprobs={request.top_logprobs} is not allowed: an integer from 0 to 20",
            "top_logprobs",
            "invalid_value",
        )
    return (request.top_logprobs or 0) if request.logprobs else None


class Completion:
    """An answer in chat's words, whole or in chunks."""

    def __init__(self, request: ChatRequest, answer: Answer) -> None:
        self.request, self.answer = request, answer
        self.id = "chatcmpl-" + secrets.token_hex(12)
        self.created = int(time.time())
        self.wants_usage = request.stream_options is not None and bool(request.stream_options.include_usage)
        # All events of a stream are the same around their choice.
        before, around, after = data_event(self._chunk()).partition(b'"choices":[')
        self._before, self._after = before + around, after

    async def whole(self) -> ChatCompletion:
        """All choices, once they are there."""
        replies = await self.answer.replies()
        completion = ChatCompletion(
            id=self.id,
            created=self.created,
            model=self.request.model,
            choices=[self._choice(reply) for reply in replies],
            usage=self.answer.usage(),
            system_fingerprint=self.answer.facts.fingerprint,
            seed=self.answer.admitted.seed,
        )
        if self.answer.admitted.prompt_token_ids is not None:
            completion.prompt_token_ids = self.answer.admitted.prompt_token_ids
        if self.answer.prompt_logprobs is not None:
            completion.prompt_logprobs = prompt_logprobs(self.answer.prompt_logprobs, self.request.prompt_logprobs or 0)
        return completion

    async def events(self) -> AsyncGenerator[bytes]:
        """Chunks; closing the generator aborts the request."""
        try:
            first = Delta(role="assistant", content="", refusal=None)
            yield b"".join([self._event(ChunkChoice(index, first)) for index in range(self.request.n or 1)])
            async for batch in self.answer.batches():
                choices = [choice for news in batch if (choice := self._chunk_choice(news))]
                if choices:
                    yield b"".join([self._event(choice) for choice in choices])
            if self.wants_usage:
                yield data_event(self._chunk(self.answer.usage()))
            yield DONE
        finally:
            self.answer.abort()

    def _choice(self, reply: Reply) -> Choice:
        choice = Choice(
            index=reply.index,
            message=_message(reply),
            finish_reason=reply.finish.reason,
            logprobs=self._logprobs_of(reply.logprobs),
            stop_reason=reply.finish.stopped_by,
        )
        if self.request.return_token_ids:
            choice.token_ids = reply.token_ids
        if self.request.trace is not None:
            choice.traces = reply.traces
        return choice

    def _chunk_choice(self, news: News) -> ChunkChoice | None:
        """None where nothing happened that a client sees."""
        if not (news.deltas or news.finish or news.logprobs or news.traces or self.request.return_token_ids):
            return None
        choice = ChunkChoice(news.index, _delta(news), logprobs=self._logprobs_of(news.logprobs or []))
        if news.finish:
            choice.finish_reason, choice.stop_reason = news.finish.reason, news.finish.stopped_by
        if self.request.return_token_ids:
            choice.token_ids = list(news.token_ids)
        if news.traces is not None:
            choice.traces = news.traces
        return choice

    def _event(self, choice: ChunkChoice) -> bytes:
        return b"%b%b%b" % (self._before, wire.encode(choice), self._after)

    def _chunk(self, usage: Usage | None = None) -> ChatChunk:
        """One without choices."""
        return ChatChunk(
            id=self.id,
            created=self.created,
            model=self.request.model,
            choices=[],
            usage=usage if self.wants_usage else UNSET,
            system_fingerprint=self.answer.facts.fingerprint,
            seed=self.answer.admitted.seed,
        )

    def _logprobs_of(self, positions: list[list[TokenLogprob]]) -> ChoiceLogprobs | None:
        if not self.request.logprobs:
            return None
        return ChoiceLogprobs([content_logprob(p, self.request.top_logprobs or 0) for p in positions])


def _message(reply: Reply) -> Message:
    message = Message(reply.text if reply.text or not reply.tool_calls else None)
    if reply.tool_calls:
        message.tool_calls = [MessageToolCall(c.id, FunctionCall(c.name, c.arguments)) for c in reply.tool_calls]
    if reply.reasoning:
        message.reasoning_content = message.reasoning = reply.reasoning
    return message


def _delta(news: News) -> Delta:
    delta = Delta()
    calls: list[ToolCallDelta] = []
    for item in news.deltas:
        match item:
            case TextDelta(text):
                delta.content = (delta.content or "") + text
            case ReasoningDelta(text):
                delta.reasoning_content = delta.reasoning = (delta.reasoning or "") + text
            case ToolCallStarted(place, call_id, name):
                calls.append(ToolCallDelta(place, FunctionDelta(name, ""), call_id, "function"))
            case ToolArgumentsDelta(place, arguments):
                calls.append(ToolCallDelta(place, FunctionDelta(arguments=arguments)))
    if calls:
        delta.tool_calls = calls
    return delta


ENDPOINTS = (
    Endpoint(
        "POST",
        "/v1/chat/completions",
        create,
        "Answer a conversation, whole or as a stream.",
        request=ChatRequest,
        answer=ChatCompletion,
        events=ChatChunk,
        is_work=True,
    ),
)
