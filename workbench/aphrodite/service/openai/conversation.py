"""One assistant turn, without the shape of any protocol: what is asked, and what happens until it is answered.

Chat, responses and messages all are this, each with names of its own around it:

    turn = Turn(model=request.model, messages=messages, tools=tools, sampling=checked(given_fields(request)))
    answer = await start(call, turn)             # 400, 404 or 503 as ApiError; the engine has accepted it
    try:
        async for news in answer.news():         # one `News` a token (or a few)
            for delta in news.deltas:
                match delta:
                    case TextDelta(text): ...
                    case ReasoningDelta(text): ...
                    case ToolCallStarted(place, call_id, name): ...
                    case ToolArgumentsDelta(place, arguments): ...
            if news.finish: ...                  # its reason; with `n` sequences each has one (`news.index`)
    finally:
        answer.abort()                           # ends the request where it still runs
    answer.usage()

or, not streamed, `replies = await call.until_gone(answer.replies())`: one `Reply` a sequence. `answer.admitted` has the
seed and the count of prompt tokens, `answer.facts` the model's fingerprint. Errors inside news() are ApiErrors too.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from aphrodite.service import boundary
from aphrodite.service.boundary import Admitted, Facts, Token, TokenLogprob
from aphrodite.service.call import Call
from aphrodite.service.engine_process import EngineFailure, Generation
from aphrodite.service.errors import ApiError, bad_request, from_problem
from aphrodite.service.openai.shapes import Usage, usage
from aphrodite.service.openai.tools import Tool, ToolChoice

FinishReason = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What is asked for.

    Attributes:
        messages: as OpenAI's chat has them: role (developer, system, user, assistant, tool), content (a string or text
            parts), tool_calls, tool_call_id. They are checked by start().
        tools: functions the model may call.
        tool_choice: "none", "auto", "required", or the name of the one to call, as ToolChoice.
        structured_outputs: what the text must be: the engine's field of that name (json, regex, choice, ...).
        sampling: the other fields of SamplingParams, as `sampling.checked` returns them (max_tokens, n, logprobs, ...).
        reasoning_effort: for templates that know it.
        template: more arguments of the chat template.
        return_token_ids: tell the prompt's ids in `admitted`.
    """

    model: str
    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Tool] = ()
    tool_choice: ToolChoice = field(default_factory=ToolChoice)
    parallel_tool_calls: bool = True
    structured_outputs: Mapping[str, Any] | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)
    reasoning_effort: str | None = None
    template: Mapping[str, Any] = field(default_factory=dict)
    add_generation_prompt: bool = True
    return_token_ids: bool = False


# ---- what happens


@dataclass(frozen=True)
class TextDelta:
    """More of the answer's text."""

    text: str


@dataclass(frozen=True)
class ReasoningDelta:
    """More of what the model thinks before it answers."""

    text: str


@dataclass(frozen=True)
class ToolCallStarted:
    """A call begins; `place` counts the calls of one sequence from 0."""

    place: int
    call_id: str
    name: str


@dataclass(frozen=True)
class ToolArgumentsDelta:
    """More of a call's arguments, which are JSON once they are whole."""

    place: int
    arguments: str


Delta = TextDelta | ReasoningDelta | ToolCallStarted | ToolArgumentsDelta


@dataclass(frozen=True)
class Finish:
    """Why a sequence ended.

    Attributes:
        reason: "tool_calls" where it called and was not cut; a call that the token limit cut is "length".
        stopped_by: the stop string or id, None for the model's own end.
    """

    reason: FinishReason
    stopped_by: int | str | None = None


@dataclass(frozen=True)
class News:
    """What one step brought of one sequence.

    Attributes:
        index: which of the n sequences.
        logprobs: of each new token, where asked for: the drawn one first, then the most likely.
    """

    index: int
    deltas: tuple[Delta, ...]
    token_ids: tuple[int, ...]
    logprobs: list[list[TokenLogprob]] | None = None
    finish: Finish | None = None


@dataclass
class ToolCall:
    """A whole call; `arguments` is JSON as the model wrote it."""

    id: str
    name: str
    arguments: str = ""


@dataclass
class Reply:
    """A whole sequence."""

    index: int
    text: str = ""
    reasoning: str = ""
    tool_calls: list[ToolCall] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[list[TokenLogprob]] = field(default_factory=list)
    finish: Finish = Finish("stop")

    def add(self, news: News) -> None:
        """Fold one step's news in."""
        for delta in news.deltas:
            self._add(delta)
        self.token_ids += news.token_ids
        self.logprobs += news.logprobs or []
        self.finish = news.finish or self.finish

    def _add(self, delta: Delta) -> None:
        match delta:
            case TextDelta(text):
                self.text += text
            case ReasoningDelta(text):
                self.reasoning += text
            case ToolCallStarted(_, call_id, name):
                self.tool_calls.append(ToolCall(call_id, name))
            case ToolArgumentsDelta(place, arguments):
                self.tool_calls[place].arguments += arguments


class Answer:
    """An admitted turn on its way."""

    def __init__(self, turn: Turn, facts: Facts, generation: Generation, admitted: Admitted) -> None:
        self.turn, self.facts, self.admitted = turn, facts, admitted
        self._generation = generation
        self._num_output = self._num_cached = self._num_reasoning = 0

    async def news(self) -> AsyncGenerator[News]:
        """Everything that happens, in order. Leaving it early does not end the request: abort() does.

        Raises:
            ApiError: the request ended with an error.
        """
        async for batch in self.batches():
            for news in batch:
                yield news

    async def batches(self) -> AsyncGenerator[list[News]]:
        """The same, all that is there at a time together: a stream sends them as one piece."""
        while tokens := await self._tokens():
            yield [self._digest(token) for token in tokens]

    async def replies(self) -> list[Reply]:
        """Every sequence, once it is whole."""
        replies = [Reply(index) for index in range(self.turn.sampling.get("n", 1))]
        async for batch in self.batches():
            for news in batch:
                replies[news.index].add(news)
        return replies

    def usage(self) -> Usage:
        """Tokens so far."""
        return usage(self.admitted.prompt_tokens, self._num_output, self._num_cached, self._num_reasoning)

    def abort(self) -> None:
        """End it, if it still runs."""
        self._generation.abort()

    async def _tokens(self) -> list[Token]:
        try:
            return await self._generation.news()
        except EngineFailure as error:
            raise from_problem(error.problem) from None

    def _digest(self, token: Token) -> News:
        self._num_output += len(token.token_ids)
        if token.index == 0:
            self._num_cached = max(self._num_cached, token.cached)
        deltas = (TextDelta(token.text),) if token.text else ()
        return News(token.index, deltas, token.token_ids, token.logprobs, _finish(token))


def _finish(token: Token) -> Finish | None:
    if token.finish_reason is None:
        return None
    if token.finish_reason not in ("stop", "length"):
        raise ApiError(503, "the request was aborted", code="aborted")
    return Finish(token.finish_reason, token.stop_reason)  # type: ignore[arg-type]


async def start(call: Call, turn: Turn) -> Answer:
    """Check the turn and hand it to the model's engine.

    Raises:
        ApiError: 400 naming what is wrong, 404 unknown model, 503 a model that is not ready.
        ClientGone: the client left while it was admitted.
    """
    engine, facts = call.service.models.ready(turn.model)
    generation = engine.generate(_message(turn, call, facts), call.user)
    try:
        return Answer(turn, facts, generation, await call.until_gone(generation.admitted()))
    except BaseException:
        generation.abort()
        raise


def _message(turn: Turn, call: Call, facts: Facts) -> boundary.Generate:
    if not facts.has_chat_template:
        raise bad_request(
            f"{turn.model} has no chat template; use /v1/completions with a prompt", "model", "unsupported_by_model"
        )
    return boundary.Generate(
        id=0,
        params=dict(turn.sampling),
        messages=[dict(message) for message in turn.messages],
        template={"add_generation_prompt": turn.add_generation_prompt, **turn.template},
        priority=call.user.priority,
        cache_salt=call.user.tenant,
        echo_ids=turn.return_token_ids,
    )
