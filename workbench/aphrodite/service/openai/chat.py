"""`POST /v1/chat/completions`."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from aphrodite.service import boundary
from aphrodite.service.boundary import Facts, Token
from aphrodite.service.call import Call
from aphrodite.service.endpoint import Endpoint
from aphrodite.service.engine_process import EngineFailure, EngineProcess, Generation
from aphrodite.service.errors import ApiError, bad_request, from_problem
from aphrodite.service.openai.sampling import SamplingFields, checked, given_fields
from aphrodite.service.openai.shapes import ChoiceLogprobs, Usage, content_logprob, usage
from aphrodite.service.replies import DONE, EventStream, data_event, json_reply

# ---- the request


class StreamOptions(msgspec.Struct):
    """What a stream holds besides the text."""

    include_usage: bool = False


class ChatRequest(SamplingFields, kw_only=True):
    """OpenAI's fields, and the engine's sampling fields beside them."""

    model: str
    messages: list[dict[str, Any]]
    max_completion_tokens: int | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    add_generation_prompt: bool = True
    chat_template_kwargs: dict[str, Any] | None = None
    return_token_ids: bool = False
    user: str | None = None
    metadata: dict[str, str] | None = None
    safety_identifier: str | None = None


# ---- the answer


class Message(msgspec.Struct):
    content: str | None
    role: str = "assistant"
    refusal: None = None
    annotations: list[Any] = []


class Choice(msgspec.Struct):
    index: int
    message: Message
    finish_reason: str
    logprobs: ChoiceLogprobs | None = None
    token_ids: list[int] | UnsetType = UNSET
    stop_reason: int | str | None = None


class ChatCompletion(msgspec.Struct, kw_only=True):
    """`seed` is the one that was used: with it the same request gives the same tokens."""

    id: str
    object: str = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    system_fingerprint: str
    seed: int
    prompt_token_ids: list[int] | UnsetType = UNSET


class Delta(msgspec.Struct, omit_defaults=True):
    role: str | UnsetType = UNSET
    content: str | UnsetType | None = UNSET
    refusal: UnsetType | None = UNSET


class ChunkChoice(msgspec.Struct):
    index: int
    delta: Delta
    finish_reason: str | None = None
    logprobs: ChoiceLogprobs | None = None
    token_ids: list[int] | UnsetType = UNSET


class ChatChunk(msgspec.Struct, kw_only=True):
    id: str
    object: str = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | UnsetType | None = UNSET
    system_fingerprint: str
    seed: int | UnsetType = UNSET


# ---- the route


async def create(call: Call) -> Any:
    request = await call.json(ChatRequest)
    engine, facts = call.service.models.ready(request.model)
    generation = engine.generate(_message(request, call, facts))
    try:
        admitted = await call.until_gone(generation.admitted())
        job = Job(request, engine, facts, generation, admitted)
        if request.stream:
            return EventStream(job.events())
        return json_reply(await call.until_gone(job.whole()))
    except BaseException:
        generation.abort()
        raise


def _message(request: ChatRequest, call: Call, facts: Facts) -> boundary.Generate:
    if not facts.has_chat_template:
        raise bad_request(
            f"{request.model} has no chat template; use /v1/completions with a prompt", "model", "unsupported_by_model"
        )
    params = given_fields(request)
    limit = request.max_completion_tokens if request.max_completion_tokens is not None else request.max_tokens
    # OpenAI's default is no limit but the context's.
    params["max_tokens"] = limit
    params["logprobs"] = _logprobs(request)
    return boundary.Generate(
        id=0,
        params=checked(params),
        messages=request.messages,
        template={"add_generation_prompt": request.add_generation_prompt, **(request.chat_template_kwargs or {})},
        priority=call.user.priority,
        cache_salt=call.user.tenant,
        echo_ids=request.return_token_ids,
    )


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


class Job:
    """One admitted request on its way to a completion, whole or in chunks."""

    def __init__(
        self,
        request: ChatRequest,
        engine: EngineProcess,
        facts: Facts,
        generation: Generation,
        admitted: boundary.Admitted,
    ) -> None:
        self.request, self.engine, self.facts = request, engine, facts
        self.generation, self.admitted = generation, admitted
        self.id = "chatcmpl-" + secrets.token_hex(12)
        self.created = int(time.time())
        self.num_output = 0
        self.num_cached = 0

    async def whole(self) -> ChatCompletion:
        """All choices, once they are there."""
        parts: dict[int, list[Token]] = {index: [] for index in range(self.request.n or 1)}
        while tokens := await self.generation.news():
            for token in tokens:
                self._count(token)
                parts[token.index].append(token)
        completion = ChatCompletion(
            id=self.id,
            created=self.created,
            model=self.request.model,
            choices=[self._choice(index, tokens) for index, tokens in parts.items()],
            usage=self._usage(),
            system_fingerprint=self.facts.fingerprint,
            seed=self.admitted.seed,
        )
        if self.admitted.prompt_token_ids is not None:
            completion.prompt_token_ids = self.admitted.prompt_token_ids
        return completion

    async def events(self) -> AsyncGenerator[bytes]:
        """Chunks; closing the generator aborts the request."""
        try:
            choices = [
                ChunkChoice(i, Delta(role="assistant", content="", refusal=None)) for i in range(self.request.n or 1)
            ]
            yield b"".join(self._event(choice) for choice in choices)
            while tokens := await self._news():
                for token in tokens:
                    self._count(token)
                yield b"".join(event for token in tokens if (event := self._token_event(token)))
            if self.request.stream_options and self.request.stream_options.include_usage:
                yield data_event(self._chunk([], usage=self._usage()))
            yield DONE
        finally:
            self.generation.abort()

    async def _news(self) -> list[Token]:
        try:
            return await self.generation.news()
        except EngineFailure as error:
            raise from_problem(error.problem) from None

    def _count(self, token: Token) -> None:
        self.num_output += len(token.token_ids)
        if token.index == 0:
            self.num_cached = max(self.num_cached, token.cached)

    def _choice(self, index: int, tokens: list[Token]) -> Choice:
        last = tokens[-1]
        if last.finish_reason == "abort":
            raise ApiError(503, "the request was aborted", code="aborted")
        choice = Choice(
            index=index,
            message=Message("".join(token.text for token in tokens)),
            finish_reason=last.finish_reason or "stop",
            logprobs=self._logprobs_of(tokens),
            stop_reason=last.stop_reason,
        )
        if self.request.return_token_ids:
            choice.token_ids = [i for token in tokens for i in token.token_ids]
        return choice

    def _token_event(self, token: Token) -> bytes:
        if not token.text and not token.finish_reason and not token.logprobs and not self.request.return_token_ids:
            return b""
        delta = Delta(content=token.text) if token.text else Delta()
        choice = ChunkChoice(token.index, delta, token.finish_reason, self._logprobs_of([token]))
        if self.request.return_token_ids:
            choice.token_ids = list(token.token_ids)
        return self._event(choice)

    def _event(self, choice: ChunkChoice) -> bytes:
        return data_event(self._chunk([choice]))

    def _chunk(self, choices: list[ChunkChoice], usage: Usage | None = None) -> ChatChunk:
        wants_usage = self.request.stream_options is not None and self.request.stream_options.include_usage
        return ChatChunk(
            id=self.id,
            created=self.created,
            model=self.request.model,
            choices=choices,
            usage=usage if wants_usage else UNSET,
            system_fingerprint=self.facts.fingerprint,
            seed=self.admitted.seed,
        )

    def _logprobs_of(self, tokens: list[Token]) -> ChoiceLogprobs | None:
        if not self.request.logprobs:
            return None
        positions = [position for token in tokens for position in token.logprobs or ()]
        return ChoiceLogprobs([content_logprob(p, self.request.top_logprobs or 0) for p in positions])

    def _usage(self) -> Usage:
        return usage(self.admitted.prompt_tokens, self.num_output, self.num_cached)


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
