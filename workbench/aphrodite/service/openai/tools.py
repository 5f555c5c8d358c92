"""Functions that a model may call, as a request names them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Tool:
    """A function.

    Attributes:
        parameters: JSON schema of its arguments; {} is "any object".
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


@dataclass(frozen=True)
class ToolChoice:
    """Whether to call.

    Attributes:
        name: of the one function to call, with mode "function".
    """

    mode: Literal["none", "auto", "required", "function"] = "auto"
    name: str | None = None
