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
from typing import Any

from aphrodite.service.engines import boundary
from aphrodite.service.engines.boundary import Admitted, Facts, Token, TokenLogprob
from aphrodite.service.engines.engine_process import EngineProcess
from aphrodite.service.errors import ApiError, bad_request, from_problem
from aphrodite.service.generation import EngineFailure, Generation, joined
from aphrodite.service.http.call import Call
from aphrodite.service.openai.shapes import Usage, usage
from aphrodite.service.traces import traces_of
from aphrodite.service.turn.deltas import Delta, ReasoningDelta, TextDelta, ToolArgumentsDelta, ToolCallStarted
from aphrodite.service.turn.messages import template_messages
from aphrodite.service.turn.news import Finish, News, Reply, ToolCall
from aphrodite.service.turn.reasoning import Thought, knows_thoughts, thought_after
from aphrodite.service.turn.reply_form import ReplyForm, ReplyReader, reply_form
from aphrodite.service.turn.tools import Tool, ToolChoice, offered

__all__ = [
    "Answer",
    "Delta",
    "Finish",
    "News",
    "ReasoningDelta",
    "Reply",
    "TextDelta",
    "ToolArgumentsDelta",
    "ToolCall",
    "ToolCallStarted",
    "Turn",
    "prompt_of",
    "start",
]

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What is asked for.

    Attributes:
        messages: as OpenAI's chat has them: role (developer, system, user, assistant, tool), content (a string or text
            parts), tool_calls, tool_call_id. They are checked by start().
        tools: functions the model may call.
        tool_choice: "none", "auto", "required", or the name of the one to call, as ToolChoice.
        structured_outputs: what the text must be: the engine's field of that name (json, regex, choice, ...).
        format_field: the request's field that asks for it, for errors.
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
    format_field: str = "structured_outputs"
    sampling: Mapping[str, Any] = field(default_factory=dict)
    reasoning_effort: str | None = None
    template: Mapping[str, Any] = field(default_factory=dict)
    add_generation_prompt: bool = True
    return_token_ids: bool = False


class Answer:
    """An admitted turn on its way.

    Attributes:
        prompt_logprobs: where asked for, from the first news on: of each prompt token, None for the first.
    """

    def __init__(self, turn: Turn, facts: Facts, form: ReplyForm, generation: Generation, admitted: Admitted) -> None:
        self.turn, self.facts, self.admitted = turn, facts, admitted
        self._generation, self._is_plain = generation, form.is_plain
        self._readers = [ReplyReader(form) for _ in range(turn.sampling.get("n", 1))]
        self._num_output = self._num_cached = self._num_reasoning = 0
        self.prompt_logprobs: list[list[TokenLogprob] | None] | None = None

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
        replies = [Reply(index) for index in range(len(self._readers))]
        while tokens := await self._tokens():
            for token in joined(tokens) if self._is_plain else tokens:
                replies[token.index].add(self._digest(token))
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
        reader, count = self._readers[token.index], len(token.token_ids)
        self._num_output += count
        if reader.is_thinking:
            self._num_reasoning += count
        if token.index == 0 and token.cached > self._num_cached:
            self._num_cached = token.cached
        self.prompt_logprobs = self.prompt_logprobs or token.prompt_logprobs
        deltas = reader.add(token.text, is_last=token.finish_reason is not None)
        return News(token.index, deltas, token.token_ids, token.logprobs, _finish(token, reader), traces_of(token))


def _finish(token: Token, reader: ReplyReader) -> Finish | None:
    if token.finish_reason is None:
        return None
    if token.finish_reason == "stop":
        return Finish("tool_calls" if reader.has_called else "stop", token.stop_reason)
    if token.finish_reason == "length":
        return Finish("length")
    if token.finish_reason == "repetition":
        return Finish("length", token.finish_reason)
    raise ApiError(503, "the request was aborted", code="aborted")


async def start(call: Call, turn: Turn) -> Answer:
    """Check the turn and hand it to the model's engine.

    Raises:
        ApiError: 400 naming what is wrong, 404 unknown model, 503 a model that is not ready.
        ClientGone: the client left while it was admitted.
    """
    engine, facts = call.service.models.ready(turn.model)
    messages, tools, template = _for_template(turn, facts)
    form = reply_form(
        facts, tools, turn.tool_choice, parallel=turn.parallel_tool_calls, asked=_structured_outputs(turn),
        blamed=turn.format_field, thought=await _thought(call, engine, facts, template),
    )  # fmt: skip
    message = boundary.Generate(
        id=0,
        params={**turn.sampling, **form.for_engine(facts)},
        messages=messages,
        template=template,
        priority=call.user.priority,
        cache_salt=call.user.tenant,
        echo_ids=turn.return_token_ids,
    )
    generation = engine.generate(message, call.user)
    try:
        return Answer(turn, facts, form, generation, await call.until_gone(_admitted(generation, form)))
    except BaseException:
        generation.abort()
        raise


async def prompt_of(call: Call, turn: Turn) -> boundary.TokenIds:
    """The prompt that start() would give the model: its text and tokens.

    Raises:
        ApiError, ClientGone: as start() does.
    """
    engine, facts = call.service.models.ready(turn.model)
    messages, _, template = _for_template(turn, facts)
    return await call.until_gone(engine.call(boundary.Tokenize(0, messages=messages, template=template)))


def _for_template(turn: Turn, facts: Facts) -> tuple[list[dict[str, Any]], list[Tool], dict[str, Any]]:
    """Messages, tools that may be called, and arguments of the chat template (the tools among them)."""
    template = _template(turn, facts)
    tools = offered(turn.tools, turn.tool_choice)
    if tools:
        template["tools"] = [tool.as_template_has_it for tool in tools]
    return template_messages(turn.messages, facts.template_source), tools, template


def _template(turn: Turn, facts: Facts) -> dict[str, Any]:
    """Arguments of the chat template."""
    if not facts.has_chat_template:
        raise bad_request(
            f"{turn.model} has no chat template; use /v1/completions with a prompt", "model", "unsupported_by_model"
        )
    if "tools" in turn.template:
        raise bad_request("tools is a field of its own, not an argument of the template", "tools", "invalid_value")
    template = {"add_generation_prompt": turn.add_generation_prompt, **turn.template}
    if turn.reasoning_effort is not None:
        template["reasoning_effort"] = _effort(turn.reasoning_effort, facts)
    return template


def _effort(asked: str, facts: Facts) -> str:
    if "reasoning_effort" not in facts.template_source:
        message = f"reasoning_effort={asked!r:.40} is not supported: this model's chat template knows no such thing"
        raise bad_request(message, "reasoning_effort", "unsupported_by_model")
    if asked not in EFFORTS:
        message = f"reasoning_effort={asked!r:.40} is not allowed: one of {', '.join(EFFORTS)}"
        raise bad_request(message, "reasoning_effort", "invalid_value")
    return asked


def _structured_outputs(turn: Turn) -> Mapping[str, Any] | None:
    among_sampling = turn.sampling.get("structured_outputs")
    if among_sampling is not None and turn.structured_outputs is not None:
        message = f"structured_outputs and {turn.format_field}: only one of them can say what the text looks like"
        raise bad_request(message, "structured_outputs", "invalid_value")
    return among_sampling or turn.structured_outputs


async def _thought(call: Call, engine: EngineProcess, facts: Facts, template: Mapping[str, Any]) -> Thought:
    """Whether a reply begins in a thought, seen from what the template writes at the end of any conversation."""
    if not knows_thoughts(facts.template_source):
        return Thought.NONE
    plain = {name: value for name, value in template.items() if name != "tools"}
    asked = boundary.Tokenize(0, messages=[{"role": "user", "content": "Hi"}], template=plain)
    answer = await call.until_gone(engine.call(asked))
    return thought_after(answer.rendered)


async def _admitted(generation: Generation, form: ReplyForm) -> Admitted:
    """Wait for it; what is wrong with a grammar is told of the field that asked for it."""
    try:
        return await generation.admitted()
    except EngineFailure as error:
        problem = error.problem
        if form.blamed == "structured_outputs" or not (problem.field or "").startswith("structured_outputs"):
            raise
        reason = problem.message.partition(" is not allowed: ")[2] or problem.message
        raise bad_request(f"{form.blamed}: {reason}", form.blamed, "invalid_value") from None
