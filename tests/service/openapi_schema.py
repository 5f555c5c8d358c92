"""Our own OpenAPI document, and whether an answer is as it says."""

from __future__ import annotations

import copy
import json
from typing import Any

import httpx2
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

_HERE = "urn:openapi"
#: What their own documentation calls open: the other fields depend on the event's type.
_OPEN = ("ResponseEvent",)


class Document:
    """The document, with every structure closed: a field that it does not know is a mistake in it."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        closed = copy.deepcopy(document)
        for name, schema in closed["components"]["schemas"].items():
            if "properties" in schema and name not in _OPEN:
                schema["additionalProperties"] = False
        resource = Resource(contents=closed, specification=DRAFT202012)
        self._registry: Registry[Any] = Registry().with_resource(_HERE, resource)

    def operations(self) -> dict[tuple[str, str], dict[str, Any]]:
        """By method and path."""
        paths = self.document["paths"]
        return {(method.upper(), path): found for path, item in paths.items() for method, found in item.items()}

    def check(self, value: Any, schema: dict[str, Any]) -> None:
        """Raises jsonschema.ValidationError."""
        Draft202012Validator(_absolute(schema), registry=self._registry).validate(value)

    def check_answer(self, method: str, path: str, answer: httpx2.Response) -> None:
        """Status, headers, content type and body are what the document says of this operation."""
        operation = self.operations()[method, path]
        assert str(answer.status_code) in operation["responses"], (method, path, answer.status_code, answer.text[:200])
        described = self._resolved(operation["responses"][str(answer.status_code)])
        for name, header in described["headers"].items():
            assert name in answer.headers, name
            if self._resolved(header)["schema"].get("type") == "integer":
                assert answer.headers[name].isdigit()
        kind = answer.headers["content-type"]
        content = described["content"].get(kind) or described["content"].get(kind.partition(";")[0])
        assert content is not None, f"{kind} is not among {list(described['content'])}"
        if kind == "application/json":
            self.check(answer.json(), content["schema"])
        elif kind.startswith("text/event-stream"):
            for event in events(answer.text):
                self.check(event, content["x-event-schema"])

    def _resolved(self, found: dict[str, Any]) -> dict[str, Any]:
        if "$ref" not in found:
            return found
        value: Any = self.document
        for step in found["$ref"].removeprefix("#/").split("/"):
            value = value[step]
        return value


def events(text: str) -> list[Any]:
    """What a stream's events carry, without the closing [DONE]."""
    data = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(item) for item in data if item != "[DONE]"]


def _absolute(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {key: _HERE + value if key == "$ref" else _absolute(value) for key, value in schema.items()}
    return [_absolute(item) for item in schema] if isinstance(schema, list) else schema
