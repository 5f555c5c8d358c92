"""`POST /tokenize` and `/detokenize`, in vLLM's shape: text to token ids and back."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from aphrodite.service.engines import boundary
from aphrodite.service.engines.engine_process import EngineFailure
from aphrodite.service.engines.model_choice import chosen_model
from aphrodite.service.errors import bad_request, from_problem
from aphrodite.service.http.call import Call
from aphrodite.service.http.endpoint import Endpoint
from aphrodite.service.http.replies import Reply, json_reply
from aphrodite.service.openai.prompts import refuse_unsupported, refused
from aphrodite.service.openai.sampling import TokenId
from aphrodite.service.template_arguments import template_arguments
from aphrodite.service.turn.conversation import Turn, prompt_of
from aphrodite.service.turn.tools import ToolDefinitions, tools_of

#: A second of work; the prompt of a request may be no longer than the context anyway.
MAX_CHARACTERS = 2**20


class TokenizeRequest(msgspec.Struct, kw_only=True):
    """A text, or a conversation as the model's chat template writes it.

    Attributes:
        model: may be left out where one model is served.
        add_special_tokens: put the begin token in front of a text, as completions do; a template writes its own.
        return_token_strs: give the text of each token too.
        continue_final_message: refused, like `chat_template`.
    """

    model: str | None = None
    prompt: Annotated[str, Meta(max_length=MAX_CHARACTERS)] | None = None
    messages: list[dict[str, Any]] | None = None
    add_special_tokens: bool | None = None
    return_token_strs: bool | None = None
    add_generation_prompt: bool = True
    tools: ToolDefinitions | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    continue_final_message: bool | None = None
    chat_template: str | None = None


class Tokenized(msgspec.Struct):
    """Token ids, and how many fit the model's context."""

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | UnsetType | None = UNSET


class DetokenizeRequest(msgspec.Struct, kw_only=True):
    """Token ids; `model` may be left out where one model is served."""

    model: str | None = None
    tokens: Annotated[list[TokenId], Meta(max_length=MAX_CHARACTERS)]
    skip_special_tokens: bool = False


class Detokenized(msgspec.Struct):
    """Their text, special tokens included unless they were to be skipped."""

    prompt: str


async def tokenize(call: Call) -> Reply:
    request = await call.json(TokenizeRequest)
    refuse_unsupported(request, "continue_final_message", "chat_template")
    model = chosen_model(call.service.models, request.model)
    engine, facts = call.service.models.ready(model)
    turn = _turn(request, model)
    if turn is not None:
        found = await prompt_of(call, turn)
    else:
        question = boundary.Tokenize(0, request.prompt, add_special_tokens=request.add_special_tokens is not False)
        found = await call.until_gone(engine.call(question))
    answer = Tokenized(len(found.token_ids), facts.max_model_len, found.token_ids)
    if request.return_token_strs:
        answer.token_strs = found.texts
    return json_reply(answer)


def _turn(request: TokenizeRequest, model: str) -> Turn | None:
    """The conversation that is asked about, if one is."""
    if (request.prompt is None) == (request.messages is None):
        raise bad_request("give either prompt or messages", "prompt", "missing_required_parameter")
    if request.messages is None:
        return None
    if request.add_special_tokens:
        raise refused("add_special_tokens", "true with messages; the chat template writes its own special tokens")
    return Turn(
        model=model,
        messages=request.messages,
        tools=tools_of(request.tools or []),
        template=template_arguments(request.chat_template_kwargs or {}, "chat_template_kwargs"),
        add_generation_prompt=request.add_generation_prompt,
    )


async def detokenize(call: Call) -> Reply:
    request = await call.json(DetokenizeRequest)
    engine, _ = call.service.models.ready(chosen_model(call.service.models, request.model))
    try:
        question = boundary.Detokenize(0, request.tokens, request.skip_special_tokens)
        found: boundary.Text = await call.until_gone(engine.call(question))
    except EngineFailure as error:
        raise from_problem(msgspec.structs.replace(error.problem, field="tokens")) from None
    return json_reply(Detokenized(found.text))


ENDPOINTS = (
    Endpoint("POST", "/tokenize", tokenize, "Token ids of a text or a conversation.", request=TokenizeRequest,
             answer=Tokenized, is_work=True, tag="Tokens"),
    Endpoint("POST", "/detokenize", detokenize, "Text of token ids.", request=DetokenizeRequest,
             answer=Detokenized, is_work=True, tag="Tokens"),
)  # fmt: skip
