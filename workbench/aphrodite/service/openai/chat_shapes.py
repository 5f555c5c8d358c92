"""What `/v1/chat/completions` answers, whole and in chunks."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from aphrodite.service.openai.completions.choices import PromptLogprob
from aphrodite.service.openai.shapes import ChoiceLogprobs, Usage
from aphrodite.service.traces import Traces


class FunctionCall(msgspec.Struct):
    """`arguments` is JSON, as the model wrote it."""

    name: str
    arguments: str


class MessageToolCall(msgspec.Struct):
    id: str
    function: FunctionCall
    type: str = "function"


class Message(msgspec.Struct):
    """`reasoning` and `reasoning_content` are the same text under the two names that clients look for."""

    content: str | None
    role: str = "assistant"
    refusal: None = None
    annotations: list[Any] = []
    tool_calls: list[MessageToolCall] | UnsetType = UNSET
    reasoning_content: str | UnsetType = UNSET
    reasoning: str | UnsetType = UNSET


class Choice(msgspec.Struct):
    """One of the n answers.

    Attributes:
        traces: where `trace` asked for them: of each token, every stage of sampling in order.
    """

    index: int
    message: Message
    finish_reason: str
    logprobs: ChoiceLogprobs | None = None
    token_ids: list[int] | UnsetType = UNSET
    stop_reason: int | str | None = None
    traces: Traces | UnsetType = UNSET


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
    prompt_logprobs: list[dict[str, PromptLogprob] | None] | UnsetType = UNSET


class FunctionDelta(msgspec.Struct, omit_defaults=True):
    name: str | UnsetType = UNSET
    arguments: str | UnsetType = UNSET


class ToolCallDelta(msgspec.Struct):
    """The first of a call carries its id, type and name; the others pieces of its arguments."""

    index: int
    function: FunctionDelta
    id: str | UnsetType = UNSET
    type: str | UnsetType = UNSET


class Delta(msgspec.Struct, omit_defaults=True):
    role: str | UnsetType = UNSET
    content: str | UnsetType | None = UNSET
    refusal: UnsetType | None = UNSET
    tool_calls: list[ToolCallDelta] | UnsetType = UNSET
    reasoning_content: str | UnsetType = UNSET
    reasoning: str | UnsetType = UNSET


class ChunkChoice(msgspec.Struct):
    """What is new of one of the answers.

    Attributes:
        traces: where `trace` asked for them: of each new token, every stage of sampling in order.
    """

    index: int
    delta: Delta
    finish_reason: str | None = None
    logprobs: ChoiceLogprobs | None = None
    token_ids: list[int] | UnsetType = UNSET
    stop_reason: int | str | UnsetType | None = UNSET
    traces: Traces | UnsetType = UNSET


class ChatChunk(msgspec.Struct, kw_only=True):
    id: str
    object: str = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | UnsetType | None = UNSET
    system_fingerprint: str
    seed: int | UnsetType = UNSET
