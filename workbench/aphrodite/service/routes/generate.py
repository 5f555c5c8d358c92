"""`POST /generate`, `POST /render`: the engine's own terms over HTTP, for clients that want its results bit for bit."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from aphrodite.generated import Candidate, Generated, Made, Output, Piece, Position, Rendered, Times
from aphrodite.service.engines import boundary
from aphrodite.service.engines.boundary import Admitted, Facts, Token, TokenLogprob
from aphrodite.service.engines.engine_process import EngineFailure, Generation
from aphrodite.service.engines.model_choice import chosen_model
from aphrodite.service.errors import bad_request, from_problem
from aphrodite.service.http.call import Call
from aphrodite.service.http.endpoint import Endpoint
from aphrodite.service.http.replies import DONE, EventStream, data_event, json_reply
from aphrodite.service.openai.sampling import SamplingFields, TokenId, checked, given_fields, told
from aphrodite.service.template_arguments import template_arguments
from aphrodite.service.traces import traces_of
from aphrodite_engine.params import MAX_LOGPROBS, MAX_N
from aphrodite_engine.prompts import Continuation

#: As SamplingParams has it; OpenAI's routes stop at 2.
MAX_TEMPERATURE = 100.0

#: Ids are checked one by one while every other request waits; no context is longer.
MAX_GIVEN = 2**20

Priority = Annotated[int, Meta(ge=-(2**31), lt=2**31)]
Salt = Annotated[str, Meta(max_length=256)]


class Begun(msgspec.Struct, forbid_unknown_fields=True):
    """Output tokens that are already there; the rest follows them as if they had been drawn.

    Attributes:
        index: of the sequence they are from, which keys its draws.
    """

    token_ids: Annotated[list[TokenId], Meta(max_length=MAX_GIVEN)]
    index: Annotated[int, Meta(ge=0, lt=MAX_N)] = 0


class GenerateRequest(SamplingFields, kw_only=True):
    """Sampling fields as SamplingParams names them; without `max_tokens` the context is the limit.

    Attributes:
        model: may be left out where one model is served.
        prompt: text or token ids; or else `messages`, which the chat template turns into text.
        template: arguments of the chat template, such as tools or add_generation_prompt.
        logprobs: of each drawn token and of this many most likely ones.
        priority: higher numbers wait for lower ones; never better than the key's own.
        cache_salt: cached prefixes are shared only between requests of one key and one salt.
        continuation: go on behind these output tokens.
    """

    model: str | None = None
    prompt: str | list[TokenId] | None = None
    messages: list[dict[str, Any]] | None = None
    template: dict[str, Any] = msgspec.field(default_factory=dict)
    temperature: Annotated[float, told(minimum=0, maximum=MAX_TEMPERATURE)] | None = None
    logprobs: Annotated[int, told(minimum=0, maximum=MAX_LOGPROBS)] | None = None
    stream: bool = False
    priority: Priority = 0
    cache_salt: Salt = ""
    continuation: Begun | None = None


class RenderRequest(msgspec.Struct, kw_only=True):
    """A conversation, and arguments of the chat template."""

    model: str | None = None
    messages: list[dict[str, Any]]
    template: dict[str, Any] = msgspec.field(default_factory=dict)


async def create(call: Call) -> Any:
    request = await call.json(GenerateRequest)
    name = chosen_model(call.service.models, request.model)
    engine, facts = call.service.models.ready(name)
    generation = engine.generate(_message(request, call), call.user)
    try:
        admitted = await call.until_gone(generation.admitted())
        job = Job(call.request_id, name, request, facts, generation, admitted)
        if request.stream:
            return EventStream(job.events())
        return json_reply(await call.until_gone(job.whole()))
    except BaseException:
        generation.abort()
        raise


async def render(call: Call) -> Any:
    request = await call.json(RenderRequest)
    engine, _ = call.service.models.ready(chosen_model(call.service.models, request.model))
    asked = boundary.Tokenize(0, messages=request.messages, template=template_arguments(request.template, "template"))
    answer = await call.until_gone(engine.call(asked))
    return json_reply(Rendered(answer.rendered, answer.token_ids))


def params_of(request: GenerateRequest) -> dict[str, Any]:
    """Fields of SamplingParams.

    Raises:
        ApiError: 400.
    """
    own = {"max_tokens": request.max_tokens, "logprobs": request.logprobs}
    return checked(given_fields(request) | own, MAX_TEMPERATURE)


def _message(request: GenerateRequest, call: Call) -> boundary.Generate:
    if (request.prompt is None) == (request.messages is None):
        raise bad_request("give either a prompt or messages", "prompt", "missing_required_parameter")
    if request.messages == []:
        raise bad_request("messages must be a list of at least one message, got []", "messages", "invalid_conversation")
    if request.template and request.messages is None:
        raise bad_request("template is for messages; this request has a prompt", "template", "invalid_value")
    begun = request.continuation
    return boundary.Generate(
        id=0,
        params=params_of(request),
        prompt=request.prompt,
        messages=request.messages,
        template=template_arguments(request.template, "template"),
        priority=max(call.user.priority, request.priority),
        cache_salt=f"{call.user.tenant}/{request.cache_salt}" if request.cache_salt else call.user.tenant,
        echo_ids=True,
        continuation=None if begun is None else Continuation(tuple(begun.token_ids), begun.index),
    )


class Job:
    """One admitted request on its way to a result, whole or in pieces."""

    def __init__(
        self,
        request_id: str,
        model: str,
        request: GenerateRequest,
        facts: Facts,
        generation: Generation,
        admitted: Admitted,
    ) -> None:
        self.id, self.model, self.request, self.facts = request_id, model, request, facts
        self.generation, self.admitted = generation, admitted

    async def whole(self) -> Generated:
        """All sequences, once they have ended."""
        made, seed = self._made(), self.admitted.seed
        answer = Generated(
            id=self.id,
            model=made.model,
            system_fingerprint=made.build.fingerprint,
            build=made.build,
            prompt=made.prompt,
            prompt_token_ids=made.prompt_token_ids,
            outputs=[Output(index, seed) for index in range(self.request.n or 1)],
        )
        while tokens := await self._news():
            for token in tokens:
                answer.add(self._piece(token))
        return answer

    async def events(self) -> AsyncGenerator[bytes]:
        """Pieces; closing the generator aborts the request."""
        made: Made | None = self._made()
        try:
            while tokens := await self._news():
                pieces = list(map(self._piece, tokens))
                pieces[0].made, made = made, None
                yield b"".join(map(data_event, pieces))
            yield DONE
        finally:
            self.generation.abort()

    def _made(self) -> Made:
        prompt, ids = self.request.prompt, self.admitted.prompt_token_ids
        text = prompt if isinstance(prompt, str) else self.admitted.rendered
        return Made(self.model, self.facts.build, text, ids or [])

    async def _news(self) -> list[Token]:
        try:
            return await self.generation.news()
        except EngineFailure as error:
            raise from_problem(error.problem) from None

    def _piece(self, token: Token) -> Piece:
        prompt = token.prompt_logprobs
        return Piece(
            index=token.index,
            seed=self.admitted.seed,
            text=token.text,
            token_ids=token.token_ids,
            logprobs=None if token.logprobs is None else list(map(_position, token.logprobs)),
            finish_reason=token.finish_reason,  # type: ignore[arg-type]
            stop_reason=token.stop_reason,
            prompt_logprobs=None if prompt is None else [None if p is None else _position(p) for p in prompt],
            num_cached_tokens=token.cached,
            timing=None if token.timing is None else Times(*token.timing),
            traces=traces_of(token),
            given=token.given,
        )


def _position(candidates: list[TokenLogprob]) -> Position:
    return [
        Candidate(
            c.token_id, None if math.isinf(c.logprob) else c.logprob, c.rank, c.text, c.entropy,
            c.raw_logprob, c.processed_logprob,
        )
        for c in candidates
    ]  # fmt: skip


ENDPOINTS = (
    Endpoint(
        "POST",
        "/generate",
        create,
        "Continue a prompt or answer a conversation, in the engine's own terms.",
        request=GenerateRequest,
        answer=Generated,
        events=Piece,
        is_work=True,
        tag="Engine",
    ),
    Endpoint(
        "POST",
        "/render",
        render,
        "A conversation as the chat template writes it.",
        request=RenderRequest,
        answer=Rendered,
        is_work=True,
        tag="Engine",
    ),
)
