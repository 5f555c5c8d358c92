"""From a request for a response to the turn it asks for; what is not supported is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aphrodite.service.errors import ApiError, bad_request
from aphrodite.service.openai.metadata import checked_metadata
from aphrodite.service.openai.prompts import refuse_reports
from aphrodite.service.openai.responses.items import Item, messages_of
from aphrodite.service.openai.responses.shapes import InputFields, ResponseRequest
from aphrodite.service.openai.sampling import checked, given_fields
from aphrodite.service.template_arguments import template_arguments
from aphrodite.service.turn.conversation import Turn
from aphrodite.service.turn.tools import Tool, ToolChoice

LOGPROBS = "message.output_text.logprobs"
_MAX_TOP_LOGPROBS = 20
_OUR_WORDS = {"messages": "input", "max_tokens": "max_output_tokens", "reasoning_effort": "reasoning.effort"}
#: Known fields without which the answer would be another one.
_UNSUPPORTED = ("prompt", "moderation", "context_management", "max_tool_calls", "background_options", "access_programs")


def turn_of(request: InputFields, items: list[Item], sampling: Mapping[str, Any]) -> Turn:
    """The turn whose prompt is all of these items.

    Raises:
        ApiError: 400.
    """
    _refuse_unsupported_input(request)
    if not items:
        raise _not_allowed("input", [], "a text, or at least one item")
    tools = _tools(request.tools or [])
    choice, tools = _tool_choice(request.tool_choice, tools)
    return Turn(
        model=request.model,
        messages=messages_of(items, request.instructions),
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=request.parallel_tool_calls is not False,
        structured_outputs=_format(request.text.format if request.text else None),
        format_field="text.format",
        sampling=sampling,
        reasoning_effort=request.reasoning.effort if request.reasoning else None,
        template=template_arguments(request.chat_template_kwargs or {}, "chat_template_kwargs"),
    )


def sampling_of(request: ResponseRequest) -> dict[str, Any]:
    """The sampling fields, checked.

    Raises:
        ApiError: 400.
    """
    if request.n not in (None, 1):
        raise bad_request("n is not supported: a response is one answer", "n", "unsupported_parameter")
    if request.max_tokens is not None:
        raise bad_request("max_tokens is not a field of a response: max_output_tokens", "max_tokens", "invalid_value")
    refuse_reports(request, "prompt_logprobs", "trace")
    params = given_fields(request)
    # OpenAI's default is no limit but the context's.
    params["max_tokens"] = request.max_output_tokens
    params["logprobs"] = (request.top_logprobs or 0) if wants_logprobs(request) else None
    try:
        return checked(params)
    except ApiError as error:
        raise in_our_words(error) from None


def in_our_words(error: ApiError) -> ApiError:
    """An error of a chat's field under the name that responses have for it."""
    ours = _OUR_WORDS.get(error.param or "")
    if ours is None:
        return error
    return ApiError(
        error.status, error.message.replace(error.param or "", ours), param=ours, code=error.code, headers=error.headers
    )


def wants_logprobs(request: ResponseRequest) -> bool:
    return bool(request.top_logprobs) or LOGPROBS in (request.include or ())


def check_settings(request: ResponseRequest) -> None:
    """Refuse what cannot be done.

    Raises:
        ApiError: 400, naming the field.
    """
    for name in _UNSUPPORTED:
        if getattr(request, name) is not None:
            raise _unsupported(name)
    for place, wanted in enumerate(request.include or ()):
        if wanted != LOGPROBS:
            raise _not_allowed(f"include[{place}]", wanted, LOGPROBS)
    if request.top_logprobs is not None and not 0 <= request.top_logprobs <= _MAX_TOP_LOGPROBS:
        raise _not_allowed("top_logprobs", request.top_logprobs, f"an integer from 0 to {_MAX_TOP_LOGPROBS}")
    if request.background and request.store is False:
        raise bad_request("background needs store=true: the answer is fetched later", "background", "invalid_value")
    if request.service_tier not in (None, "auto", "default"):
        raise _not_allowed("service_tier", request.service_tier, "auto or default")
    checked_metadata(request.metadata)


def _refuse_unsupported_input(request: InputFields) -> None:
    if request.truncation not in (None, "disabled"):
        raise _not_allowed("truncation", request.truncation, "disabled: too long an input is refused, never shortened")
    if request.text and request.text.verbosity not in (None, "medium"):
        raise _not_allowed("text.verbosity", request.text.verbosity, "medium: the models here do not know it")
    if request.reasoning and (request.reasoning.summary or request.reasoning.generate_summary):
        raise bad_request(
            "reasoning.summary is not supported: reasoning comes whole, as reasoning_text", "reasoning.summary",
            "unsupported_parameter",
        )  # fmt: skip


# ---- tools


def _tools(given: list[dict[str, Any]]) -> tuple[Tool, ...]:
    tools = tuple(_tool(tool, f"tools[{place}]") for place, tool in enumerate(given))
    names = [tool.name for tool in tools]
    for place, name in enumerate(names):
        if name in names[:place]:
            raise bad_request(f"tools[{place}].name={name!r} is there twice", f"tools[{place}].name", "invalid_value")
    return tools


def _tool(given: dict[str, Any], field: str) -> Tool:
    kind = given.get("type")
    if kind != "function":
        raise _not_allowed(f"{field}.type", kind, "function: hosted tools do not exist here")
    name, parameters = given.get("name"), given.get("parameters")
    description, strict = given.get("description"), given.get("strict")
    if not isinstance(name, str) or not name:
        raise _not_allowed(f"{field}.name", name, "a name")
    if parameters is not None and not isinstance(parameters, dict):
        raise _not_allowed(f"{field}.parameters", parameters, "a JSON schema")
    if description is not None and not isinstance(description, str):
        raise _not_allowed(f"{field}.description", description, "a string")
    if strict is not None and not isinstance(strict, bool):
        raise _not_allowed(f"{field}.strict", strict, "true or false")
    return Tool(name, description, parameters or {}, strict is not False)  # strict is what responses have by default


def echoed_tools(given: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    """The tools as the answer shows them."""
    return [
        {"type": "function", "name": t.name, "description": t.description, "parameters": dict(t.parameters),
         "strict": t.strict}
        for t in _tools(given or [])
    ]  # fmt: skip


def _tool_choice(given: str | dict[str, Any] | None, tools: tuple[Tool, ...]) -> tuple[ToolChoice, tuple[Tool, ...]]:
    """How to choose, and among which."""
    if given is None:
        return ToolChoice(), tools
    if isinstance(given, str):
        return ToolChoice(_mode(given, ("none", "auto", "required"), "tool_choice")), tools
    kind = given.get("type")
    if kind == "function":
        return ToolChoice("function", _known(given.get("name"), tools, "tool_choice.name")), tools
    if kind == "allowed_tools":
        return _allowed(given, tools)
    raise _not_allowed("tool_choice.type", kind, "function or allowed_tools: hosted tools do not exist here")


def _allowed(given: dict[str, Any], tools: tuple[Tool, ...]) -> tuple[ToolChoice, tuple[Tool, ...]]:
    mode: Any = _mode(given.get("mode"), ("auto", "required"), "tool_choice.mode")
    listed = given.get("tools")
    if not isinstance(listed, list) or not listed or not all(isinstance(tool, dict) for tool in listed):
        raise _not_allowed("tool_choice.tools", listed, "a list of {type: function, name}")
    names = {_known(tool.get("name"), tools, f"tool_choice.tools[{i}].name") for i, tool in enumerate(listed)}
    return ToolChoice(mode), tuple(tool for tool in tools if tool.name in names)


def _mode(given: Any, allowed: tuple[str, ...], field: str) -> Any:
    if given not in allowed:
        raise _not_allowed(field, given, f"one of {', '.join(allowed)}, or an object")
    return given


def _known(name: Any, tools: tuple[Tool, ...], field: str) -> str:
    names = [tool.name for tool in tools]
    if name not in names:
        raise _not_allowed(field, name, f"a tool of this request ({', '.join(names) or 'it has none'})")
    return name


# ---- the form of the text


def _format(given: dict[str, Any] | None) -> dict[str, Any] | None:
    """The engine's structured_outputs."""
    kind = "text" if given is None else given.get("type")
    if kind == "text":
        return None
    if kind == "json_object":
        return {"json_object": True}
    if kind != "json_schema" or given is None:
        raise _not_allowed("text.format.type", kind, "text, json_object or json_schema")
    schema = given.get("schema")
    if not isinstance(schema, dict):
        raise _not_allowed("text.format.schema", schema, "a JSON schema")
    if not isinstance(given.get("name"), str):
        raise _not_allowed("text.format.name", given.get("name"), "a name")
    return {"json": schema}


def _unsupported(name: str) -> ApiError:
    return bad_request(f"{name} is not supported", name, "unsupported_parameter")


def _not_allowed(field: str, value: Any, allowed: str) -> ApiError:
    return bad_request(f"{field}={ascii(value)[:80]} is not allowed: {allowed}", field, "invalid_value")
