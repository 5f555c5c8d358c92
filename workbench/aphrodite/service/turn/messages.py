"""A conversation's messages, checked, and as chat templates expect them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from aphrodite.service.errors import ApiError, bad_request

ROLES = ("developer", "system", "user", "assistant", "tool")
MAX_MESSAGES = 4096


def template_messages(messages: Sequence[Any], template_source: str) -> list[dict[str, Any]]:
    """The messages with their text in one piece and arguments of calls as objects. Nothing in them is ever fetched.

    Args:
        template_source: of the model: where it knows no developer, that is the system.

    Raises:
        ApiError: 400, naming the part.
    """
    if not 0 < len(messages) <= MAX_MESSAGES:
        raise _wrong("messages", f"{len(messages)} of them", f"1 to {MAX_MESSAGES:,} messages")
    checked = [_message(message, f"messages[{place}]") for place, message in enumerate(messages)]
    if "developer" not in template_source:
        for message in checked:
            message["role"] = "system" if message["role"] == "developer" else message["role"]
    return checked


def _message(given: Any, at: str) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise _wrong(at, given, "an object with role and content")
    role = given.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise _wrong(f"{at}.role", role, f"one of {', '.join(ROLES)}")
    message: dict[str, Any] = {"role": role, "content": _content(given, role, at)}
    if given.get("name") is not None:
        message["name"] = _string(given["name"], f"{at}.name")
    if role == "assistant":
        message |= _of_assistant(given, at)
    if role == "tool" and given.get("tool_call_id") is not None:
        message["tool_call_id"] = _string(given["tool_call_id"], f"{at}.tool_call_id")
    return message


def _content(given: Mapping[str, Any], role: str, at: str) -> str:
    content = given.get("content")
    if content is None and role == "assistant":
        if not given.get("tool_calls") and not given.get("refusal"):
            raise _wrong(f"{at}.content", None, "text; only an assistant's message with tool_calls may have none")
        return _string(given.get("refusal") or "", f"{at}.refusal")
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence) or not content:
        raise _wrong(f"{at}.content", content, "a string, or a list of text parts")
    return "".join(_part(part, role, f"{at}.content[{place}]") for place, part in enumerate(content))


def _part(part: Any, role: str, at: str) -> str:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind == "text":
        return _string(part.get("text"), f"{at}.text")
    if kind == "refusal" and role == "assistant":
        return _string(part.get("refusal"), f"{at}.refusal")
    raise _wrong(f"{at}.type", kind, "'text': the models here read no images, audio or files, and nothing is fetched")


def _of_assistant(given: Mapping[str, Any], at: str) -> dict[str, Any]:
    for name in ("audio", "function_call"):
        if given.get(name) is not None:
            raise _wrong(f"{at}.{name}", given[name], "nothing; it is not supported")
    found: dict[str, Any] = {}
    calls = given.get("tool_calls")
    if calls is not None:
        if not isinstance(calls, list):
            raise _wrong(f"{at}.tool_calls", calls, "a list of calls")
        found["tool_calls"] = [_call(call, f"{at}.tool_calls[{place}]") for place, call in enumerate(calls)]
    reasoning = given.get("reasoning_content") or given.get("reasoning")
    if reasoning is not None:
        found["reasoning_content"] = _string(reasoning, f"{at}.reasoning_content")
    return found


def _call(call: Any, at: str) -> dict[str, Any]:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping):
        raise _wrong(f"{at}.function", function, "an object with name and arguments")
    arguments = _string(function.get("arguments"), f"{at}.function.arguments")
    return {
        "id": _string(call.get("id", ""), f"{at}.id"),
        "type": "function",
        "function": {"name": _string(function.get("name"), f"{at}.function.name"), "arguments": _object_of(arguments)},
    }


def _object_of(arguments: str) -> Any:
    """Templates write arguments as JSON again; what the token limit cut is handed on as the text it is."""
    try:
        found = msgspec.json.decode(arguments or "{}")
    except (msgspec.DecodeError, RecursionError):
        return arguments
    return found if isinstance(found, dict) else arguments


def _string(value: Any, field: str) -> str:
    if not isinstance(value, str):
        raise _wrong(field, value, "a string")
    return value


def _wrong(field: str, value: Any, allowed: str) -> ApiError:
    return bad_request(f"{field}={ascii(value)[:80]} is not allowed: {allowed}", field, "invalid_value")
