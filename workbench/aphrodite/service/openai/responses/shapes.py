"""What `/v1/responses` takes and gives."""

from __future__ import annotations

from typing import Any

import msgspec

from aphrodite.service.openai.sampling import SamplingFields
from aphrodite.service.openai.shapes import ContentLogprob, Usage

# ---- the request


class TextConfig(msgspec.Struct):
    """`format` is {"type": "text"}, {"type": "json_object"} or {"type": "json_schema", "name", "schema"}."""

    format: dict[str, Any] | None = None
    verbosity: str | None = None


class ReasoningConfig(msgspec.Struct):
    effort: str | None = None
    summary: str | None = None
    generate_summary: str | None = None


class InputFields(SamplingFields, kw_only=True):
    """What makes up the prompt."""

    model: str
    input: str | list[dict[str, Any]]
    instructions: str | None = None
    previous_response_id: str | None = None
    conversation: str | dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    text: TextConfig | None = None
    reasoning: ReasoningConfig | None = None
    truncation: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None


class ResponseRequest(InputFields, kw_only=True):
    """OpenAI's fields, and the engine's sampling fields beside them (`max_output_tokens` in place of max_tokens)."""

    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    top_logprobs: int | None = None
    include: list[str] | None = None
    store: bool | None = None
    background: bool | None = None
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    metadata: dict[str, str] | None = None
    service_tier: str | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    prompt: Any = None
    moderation: Any = None
    context_management: Any = None
    background_options: Any = None
    access_programs: Any = None


# ---- the items of an answer


class OutputText(msgspec.Struct):
    text: str = ""
    type: str = "output_text"
    annotations: list[Any] = []
    logprobs: list[ContentLogprob] = []


class ReasoningText(msgspec.Struct):
    text: str = ""
    type: str = "reasoning_text"


class MessageItem(msgspec.Struct, tag_field="type", tag="message"):
    id: str
    status: str = "in_progress"
    role: str = "assistant"
    content: list[OutputText] = []


class ReasoningItem(msgspec.Struct, tag_field="type", tag="reasoning"):
    """What the model thought, in its own words: `summary` is always empty."""

    id: str
    status: str = "in_progress"
    summary: list[Any] = []
    content: list[ReasoningText] = []


class FunctionCallItem(msgspec.Struct, tag_field="type", tag="function_call"):
    id: str
    call_id: str
    name: str
    arguments: str = ""
    status: str = "in_progress"


OutputItem = MessageItem | ReasoningItem | FunctionCallItem

# ---- the answer


class InputTokensDetails(msgspec.Struct):
    cached_tokens: int
    cache_write_tokens: int = 0


class OutputTokensDetails(msgspec.Struct):
    reasoning_tokens: int


class ResponseUsage(msgspec.Struct):
    input_tokens: int
    input_tokens_details: InputTokensDetails
    output_tokens: int
    output_tokens_details: OutputTokensDetails
    total_tokens: int


def response_usage(found: Usage) -> ResponseUsage:
    """The same counts under the names that responses have for them."""
    return ResponseUsage(
        found.prompt_tokens,
        InputTokensDetails(found.prompt_tokens_details.cached_tokens),
        found.completion_tokens,
        OutputTokensDetails(found.completion_tokens_details.reasoning_tokens),
        found.total_tokens,
    )


class ResponseError(msgspec.Struct):
    code: str
    message: str


class IncompleteDetails(msgspec.Struct):
    reason: str


class ConversationId(msgspec.Struct):
    id: str


class Response(msgspec.Struct, kw_only=True):
    """A response, with the settings it was made with.

    Attributes:
        seed: the one that was used: with it the same request gives the same tokens.
    """

    id: str
    object: str = "response"
    created_at: int
    completed_at: int | None = None
    status: str = "in_progress"
    background: bool
    error: ResponseError | None = None
    incomplete_details: IncompleteDetails | None = None
    instructions: str | None
    max_output_tokens: int | None
    max_tool_calls: int | None
    model: str
    output: list[OutputItem] = []
    parallel_tool_calls: bool
    previous_response_id: str | None
    conversation: ConversationId | None
    prompt: None = None
    prompt_cache_key: str | None
    prompt_cache_retention: str | None
    reasoning: ReasoningConfig
    safety_identifier: str | None
    service_tier: str = "default"
    store: bool
    temperature: float
    text: TextConfig
    tool_choice: str | dict[str, Any]
    tools: list[dict[str, Any]]
    top_logprobs: int
    top_p: float
    truncation: str = "disabled"
    usage: ResponseUsage | None = None
    user: str | None
    metadata: dict[str, str]
    seed: int
    system_fingerprint: str


class ResponseEvent(msgspec.Struct):
    """One event of a stream; the other fields depend on its type."""

    type: str
    sequence_number: int
