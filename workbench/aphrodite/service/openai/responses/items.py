"""Items of a conversation: checked as they come in, stored as they are, and told to the model as messages."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from aphrodite.service.errors import ApiError, bad_request

Item = dict[str, Any]

ROLES = ("user", "assistant", "system", "developer")
_TEXT_PARTS = ("input_text", "output_text", "text")
_PREFIXES = {"message": "msg_", "function_call": "fc_", "function_call_output": "fco_", "reasoning": "rs_"}
_MAX_ID = 128


def new_id(prefix: str) -> str:
    return prefix + secrets.token_hex(12)


def checked_items(given: str | Sequence[Item], field: str = "input") -> list[Item]:
    """Items in one form, each with an id.

    Raises:
        ApiError: 400, naming the place and what is wrong there.
    """
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    return [_checked(item, f"{field}[{place}]") for place, item in enumerate(given)]


def _checked(item: Item, field: str) -> Item:
    kind = item.get("type", "message")
    if kind == "message":
        checked = _message(item, field)
    elif kind == "function_call":
        checked = {name: _string(item, name, field) for name in ("call_id", "name", "arguments")}
    elif kind == "function_call_output":
        checked = {"call_id": _string(item, "call_id", field), "output": _output(item.get("output"), field)}
    elif kind == "reasoning":
        checked = {"summary": item.get("summary") or [], "content": item.get("content") or []}
    else:
        allowed = ", ".join(_PREFIXES)
        raise _wrong(f"{field}.type", kind, f"one of {allowed}")
    return {"id": _id(item, kind, field), "type": kind, "status": "completed", **checked}


def _message(item: Item, field: str) -> Item:
    role, content = item.get("role"), item.get("content")
    if role not in ROLES:
        raise _wrong(f"{field}.role", role, f"one of {', '.join(ROLES)}")
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    if not isinstance(content, list) or not content:
        raise _wrong(f"{field}.content", content, "a string or a list of parts")
    texts = [_part(part, f"{field}.content[{place}]") for place, part in enumerate(content)]
    if role == "assistant":
        parts = [{"type": "output_text", "text": text, "annotations": [], "logprobs": []} for text in texts]
    else:
        parts = [{"type": "input_text", "text": text} for text in texts]
    return {"role": role, "content": parts}


def _part(part: Any, field: str) -> str:
    """The text of one part."""
    if not isinstance(part, dict):
        raise _wrong(field, part, "an object with a type")
    kind = part.get("type")
    if kind == "refusal":
        return _string(part, "refusal", field)
    if kind not in _TEXT_PARTS:
        raise _wrong(f"{field}.type", kind, "input_text, output_text or refusal: the models here read text")
    return _string(part, "text", field)


def _output(output: Any, field: str) -> str:
    """What a function gave back: a text, or parts of one."""
    if isinstance(output, str):
        return output
    if not isinstance(output, list):
        raise _wrong(f"{field}.output", output, "a string or a list of input_text parts")
    return "".join(_part(part, f"{field}.output[{place}]") for place, part in enumerate(output))


def _id(item: Item, kind: str, field: str) -> str:
    given = item.get("id")
    if given is None:
        return new_id(_PREFIXES[kind])
    if not isinstance(given, str) or not 0 < len(given) <= _MAX_ID or not given.isprintable():
        raise _wrong(f"{field}.id", given, f"a string of 1 to {_MAX_ID} printable characters")
    return given


def _string(item: Item, name: str, field: str) -> str:
    if name not in item:
        raise bad_request(f"{field}.{name} is missing", f"{field}.{name}", "missing_required_parameter")
    if not isinstance(item[name], str):
        raise _wrong(f"{field}.{name}", item[name], "a string")
    return item[name]


def _wrong(field: str, value: Any, allowed: str) -> ApiError:
    return bad_request(f"{field}={ascii(value)[:80]} is not allowed: {allowed}", field, "invalid_value")


def messages_of(items: Sequence[Item], instructions: str | None) -> list[dict[str, Any]]:
    """The conversation as chat templates expect it. Earlier reasoning is left out, as reasoning models want it."""
    messages: list[dict[str, Any]] = []
    if instructions is not None:
        messages.append({"role": "system", "content": instructions})
    for item in items:
        if item["type"] == "message":
            messages.append({"role": item["role"], "content": _content(item["content"])})
        elif item["type"] == "function_call":
            _caller(messages)["tool_calls"].append(_call(item))
        elif item["type"] == "function_call_output":
            messages.append({"role": "tool", "tool_call_id": item["call_id"], "content": item["output"]})
    return messages


def _content(parts: Sequence[Item]) -> str | list[dict[str, str]]:
    if len(parts) == 1:
        return parts[0]["text"]
    return [{"type": "text", "text": part["text"]} for part in parts]


def _caller(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """The assistant's message that a call belongs to: the last one, or a new one."""
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": ""})
    messages[-1].setdefault("tool_calls", [])
    return messages[-1]


def _call(item: Item) -> dict[str, Any]:
    function = {"name": item["name"], "arguments": item["arguments"]}
    return {"id": item["call_id"], "type": "function", "function": function}
