"""A conversation in Anthropic's words as the turn that every route hands to the engine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from aphrodite.service.anthropic.request import (
    Block,
    Conversation,
    InputMessage,
    MessagesRequest,
    TextBlock,
    ToolChoiceField,
    ToolResultBlock,
    ToolUseBlock,
)
from aphrodite.service.errors import bad_request
from aphrodite.service.openai.prompts import refuse_reports, refuse_unsupported, refused
from aphrodite.service.openai.sampling import checked, given_fields
from aphrodite.service.turn.conversation import Turn
from aphrodite.service.turn.tools import Tool, ToolChoice

MAX_TEMPERATURE = 1.0


def turn_of(request: Conversation, sampling: dict[str, Any] | None = None) -> Turn:
    """What is asked.

    Raises:
        ApiError: 400 for what this service cannot do.
    """
    if request.messages[-1].role == "assistant":
        raise refused("messages", "the last one is the assistant's; an answer that is begun cannot be continued")
    choice, output = request.tool_choice, request.output_config
    schema = output.format.schema if output and output.format else None
    return Turn(
        model=request.model,
        messages=[*_system(request), *(written for message in request.messages for written in _messages(message))],
        tools=_tools(request),
        tool_choice=_choice(choice),
        parallel_tool_calls=not (choice and choice.disable_parallel_tool_use),
        structured_outputs=None if schema is None else {"json": schema},
        format_field="output_config.format",
        sampling=sampling or {},
        reasoning_effort=output.effort if output else None,
        template=_thinking(request),
    )


def sampling_of(request: MessagesRequest) -> dict[str, Any]:
    """Fields of SamplingParams.

    Raises:
        ApiError: 400.
    """
    refuse_unsupported(request, "container", "mcp_servers", "context_management", "structured_outputs")
    refuse_reports(request, "logprobs", "prompt_logprobs", "logprobs_mode", "trace")
    if request.n not in (None, 1):
        raise refused("n", f"{request.n}; a message is one answer")
    params = given_fields(request)
    if request.stop_sequences:
        stop = params.get("stop", [])
        params["stop"] = [*request.stop_sequences, *([stop] if isinstance(stop, str) else stop)]
    return checked(params, MAX_TEMPERATURE)


# ---- messages


def _system(request: Conversation) -> list[dict[str, Any]]:
    text = request.system if isinstance(request.system, str) else _joined(request.system or [])
    return [{"role": "system", "content": text}] if text else []


def _messages(message: InputMessage) -> list[dict[str, Any]]:
    """One message as chat has it; results of calls are messages of their own there."""
    if isinstance(message.content, str):
        return [{"role": message.role, "content": message.content}]
    if message.role == "assistant":
        return [_assistant(message.content)]
    written: list[dict[str, Any]] = []
    texts: list[TextBlock] = []
    for block in message.content:
        if isinstance(block, TextBlock):
            texts.append(block)
        elif isinstance(block, ToolResultBlock) and message.role == "user":
            written += [*_said(message.role, texts), _result(block)]
            texts = []
        else:
            raise _misplaced(block, message.role)
    written += _said(message.role, texts)
    if not written:
        raise refused("messages", f"one of the {message.role}'s has no content")
    return written


def _assistant(content: Sequence[Block]) -> dict[str, Any]:
    """Text and calls; earlier thoughts are left out."""
    for block in content:
        if isinstance(block, ToolResultBlock):
            raise _misplaced(block, "assistant")
    calls = [_call(block) for block in content if isinstance(block, ToolUseBlock)]
    text = _joined([block for block in content if isinstance(block, TextBlock)])
    return {"role": "assistant", "content": text} | ({"tool_calls": calls} if calls else {})


def _said(role: str, texts: Sequence[TextBlock]) -> list[dict[str, Any]]:
    return [{"role": role, "content": _joined(texts)}] if texts else []


def _call(block: ToolUseBlock) -> dict[str, Any]:
    function = {"name": block.name, "arguments": json.dumps(block.input, ensure_ascii=False)}
    return {"id": block.id, "type": "function", "function": function}


def _result(block: ToolResultBlock) -> dict[str, Any]:
    text = block.content if isinstance(block.content, str) else _joined(block.content)
    return {
        "role": "tool",
        "tool_call_id": block.tool_use_id,
        "content": f"Error: {text}" if block.is_error else text,
    }


def _joined(blocks: Sequence[TextBlock]) -> str:
    return "\n\n".join(block.text for block in blocks)


def _misplaced(block: Block, role: str) -> Exception:
    kind = block.__struct_config__.tag
    return refused("messages", f"a block of type {kind!r} cannot be in a message of role {role!r}")


# ---- tools, and how to answer


def _tools(request: Conversation) -> list[Tool]:
    tools = []
    for place, tool in enumerate(request.tools or ()):
        if tool.type not in (None, "custom"):
            raise refused(f"tools[{place}].type", f"{tool.type[:60]!r}; only tools of the client's own can be given")
        if tool.input_schema is None:
            field = f"tools[{place}].input_schema"
            raise bad_request(f"{field} is missing", field, "missing_required_parameter")
        tools.append(Tool(tool.name, tool.description, tool.input_schema, bool(tool.strict)))
    return tools


def _choice(choice: ToolChoiceField | None) -> ToolChoice:
    if choice is None:
        return ToolChoice()
    match choice.type:
        case "any":
            return ToolChoice("required")
        case "tool":
            if not choice.name:
                raise bad_request("tool_choice.name is missing", "tool_choice.name", "missing_required_parameter")
            return ToolChoice("function", choice.name)
        case _:
            return ToolChoice(choice.type)


def _thinking(request: Conversation) -> dict[str, Any]:
    """Arguments for chat templates that can be told not to think; others do not read them."""
    if request.thinking is None or request.thinking.type == "adaptive":
        return {}
    if request.thinking.type == "enabled":
        raise refused("thinking.type", "'enabled'; a budget cannot be kept, so 'adaptive' or 'disabled'")
    return {"enable_thinking": False}
