"""What `/v1/messages` is asked."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from aphrodite.service.openai.sampling import SamplingFields

# ---- content


class TextBlock(msgspec.Struct, tag_field="type", tag="text"):
    """Text. (`cache_control` and `citations` change nothing here: equal beginnings are always cached.)"""

    text: str


class ToolUseBlock(msgspec.Struct, tag_field="type", tag="tool_use"):
    """A call that the model made in an earlier turn."""

    id: str
    name: str
    input: dict[str, Any]


class ToolResultBlock(msgspec.Struct, tag_field="type", tag="tool_result"):
    """What a call gave; of an error the model reads that it was one."""

    tool_use_id: str
    content: str | list[TextBlock] = ""
    is_error: bool | None = None


class ThinkingBlock(msgspec.Struct, tag_field="type", tag="thinking"):
    """What the model thought in an earlier turn; it does not read it again."""

    thinking: str
    signature: str = ""


class RedactedThinkingBlock(msgspec.Struct, tag_field="type", tag="redacted_thinking"):
    """The same, unreadable."""

    data: str


Block = TextBlock | ToolUseBlock | ToolResultBlock | ThinkingBlock | RedactedThinkingBlock


class InputMessage(msgspec.Struct):
    role: Literal["user", "assistant", "system"]
    content: str | list[Block]


# ---- tools, and how to answer


class ToolDefinition(msgspec.Struct):
    """A function of the client's. Tools that Anthropic runs itself have another `type` and are refused."""

    name: str
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    type: str | None = None
    strict: bool | None = None


class ToolChoiceField(msgspec.Struct):
    """Whether to call; `name` with type "tool"."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(msgspec.Struct):
    """Whether to think before answering; "enabled" is refused, since a budget cannot be kept."""

    type: Literal["enabled", "disabled", "adaptive"]
    budget_tokens: int | None = None


class OutputFormat(msgspec.Struct):
    """A JSON schema that the text follows."""

    type: Literal["json_schema"]
    schema: dict[str, Any]


class OutputConfig(msgspec.Struct):
    effort: str | None = None
    format: OutputFormat | None = None


class Metadata(msgspec.Struct):
    user_id: str | None = None


class Conversation(SamplingFields, kw_only=True):
    """What is asked. Counting its tokens needs no more; sampling fields change nothing there."""

    model: str
    messages: Annotated[list[InputMessage], Meta(min_length=1)]
    system: str | list[TextBlock] | None = None
    tools: list[ToolDefinition] | None = None
    tool_choice: ToolChoiceField | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None


class MessagesRequest(Conversation, kw_only=True):
    """What is asked, and how it is to be answered.

    Attributes:
        max_tokens: the most tokens of the answer.
        temperature: 0 to 1 in this protocol.
        stop_sequences: strings that end the text.
        logprobs: refused: this protocol has no place for them; like the three after it.
    """

    max_tokens: Annotated[int, Meta(ge=1)]  # type: ignore[assignment]  # required here
    stop_sequences: Annotated[list[str], Meta(max_length=64)] | None = None
    stream: bool | None = None
    metadata: Metadata | None = None
    service_tier: str | None = None
    logprobs: Any = None
    container: Any = None
    mcp_servers: Any = None
    context_management: Any = None
