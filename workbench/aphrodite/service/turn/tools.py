"""Functions that a model may call, as a request names them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from aphrodite.service.errors import bad_request
from aphrodite.service.turn.json_schema import check_schema

MAX_TOOLS = 128

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True)
class Tool:
    """A function.

    Attributes:
        parameters: JSON schema of its arguments; {} is "none".
        strict: its arguments always follow the schema, also where the model may choose not to call. (Where a call is
            forced they do in any case.)
    """

    name: str
    description: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    strict: bool = False

    @property
    def as_template_has_it(self) -> dict[str, Any]:
        """As chat templates expect it, which is as OpenAI's chat writes it."""
        function: dict[str, Any] = {"name": self.name}
        if self.description is not None:
            function["description"] = self.description
        function["parameters"] = dict(self.parameters) or {"type": "object", "properties": {}}
        return {"type": "function", "function": function}

    @property
    def arguments_schema(self) -> dict[str, Any]:
        """What arguments must follow: an object, without names that the schema does not know unless it allows them."""
        schema = {"type": "object", **self.parameters}
        closed = "properties" in schema or not self.parameters
        return {"additionalProperties": False, **schema} if closed else schema


@dataclass(frozen=True)
class ToolChoice:
    """Whether to call.

    Attributes:
        name: of the one function to call, with mode "function".
    """

    mode: Literal["none", "auto", "required", "function"] = "auto"
    name: str | None = None

    @property
    def is_forced(self) -> bool:
        return self.mode in ("required", "function")


def offered(tools: Sequence[Tool], choice: ToolChoice) -> list[Tool]:
    """The tools that may be called, all of them checked.

    Raises:
        ApiError: 400.
    """
    for place, tool in enumerate(tools):
        _check(tool, f"tools[{place}]")
    names = [tool.name for tool in tools]
    if len(set(names)) < len(names):
        raise bad_request("tools: two of them have the same name", "tools", "invalid_value")
    if choice.mode == "none":
        return []
    if choice.is_forced and not tools:
        raise bad_request(f"tool_choice={choice.mode!r} needs tools", "tool_choice", "invalid_value")
    if choice.mode == "function" and choice.name not in names:
        message = f"tool_choice names the function {choice.name!r:.80}; the tools are {', '.join(names)[:200]}"
        raise bad_request(message, "tool_choice", "invalid_value")
    return [tool for tool in tools if choice.name in (None, tool.name)]


def _check(tool: Tool, at: str) -> None:
    if not _NAME.fullmatch(tool.name):
        message = f"{at}: the name {tool.name[:80]!r} is not allowed: 1 to 64 letters, digits, _ . or -"
        raise bad_request(message, at, "invalid_value")
    name = f"{at} ({tool.name}): parameters"
    if tool.parameters.get("type", "object") != "object":
        message = f"{name}.type={tool.parameters['type']!r:.80} is not allowed: arguments are an object"
        raise bad_request(message, at, "invalid_value")
    check_schema(tool.parameters, name)


# ---- as chat writes them


class FunctionDefinition(msgspec.Struct):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ToolDefinition(msgspec.Struct):
    type: Literal["function"]
    function: FunctionDefinition


class FunctionName(msgspec.Struct):
    name: str


class NamedTool(msgspec.Struct):
    type: Literal["function"]
    function: FunctionName


ToolDefinitions = Annotated[list[ToolDefinition], Meta(max_length=MAX_TOOLS)]
ToolChoiceField = Literal["none", "auto", "required"] | NamedTool


def tools_of(definitions: Sequence[ToolDefinition]) -> list[Tool]:
    return [Tool(f.name, f.description, f.parameters or {}, bool(f.strict)) for f in (d.function for d in definitions)]


def choice_of(given: ToolChoiceField | None) -> ToolChoice:
    if given is None:
        return ToolChoice()
    return ToolChoice("function", given.function.name) if isinstance(given, NamedTool) else ToolChoice(given)
