"""A JSON schema at a glance: is it one? The engine looks closer where it compiles it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aphrodite.service.errors import ApiError, bad_request

MAX_DEPTH = 64
MAX_PARTS = 20_000

_TYPES = frozenset(("object", "array", "string", "number", "integer", "boolean", "null"))
#: Where a schema holds schemas: one, a list, or by name.
_ONE = ("items", "additionalProperties", "contains", "not", "if", "then", "else", "propertyNames")
_MANY = ("anyOf", "oneOf", "allOf", "prefixItems")
_NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")


def check_schema(schema: Any, field: str) -> None:
    """Look at every part, without recursion and without fetching anything.

    Args:
        field: what the schema is called in an error.

    Raises:
        ApiError: 400, naming the part.
    """
    waiting: list[tuple[str, Any, int]] = [(field, schema, 0)]
    seen = 0
    while waiting:
        at, part, depth = waiting.pop()
        seen += 1
        if depth > MAX_DEPTH or seen > MAX_PARTS:
            allowed = f"at most {MAX_DEPTH} levels and {MAX_PARTS:,} parts"
            raise bad_request(f"{field} is too large a schema: {allowed}", field, "invalid_value")
        if isinstance(part, bool):
            continue
        if not isinstance(part, Mapping):
            raise _wrong(at, part, "a JSON schema: an object")
        _check_words(at, part)
        waiting += ((name, inner, depth + 1) for name, inner in _parts(at, part))


def _check_words(at: str, part: Mapping[str, Any]) -> None:
    kinds = part.get("type", [])
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if not isinstance(kind, str) or kind not in _TYPES:
            raise _wrong(f"{at}.type", kind, f"one of {', '.join(sorted(_TYPES))}")
    required = part.get("required", [])
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise _wrong(f"{at}.required", required, "a list of names")
    if not isinstance(part.get("enum", []), list):
        raise _wrong(f"{at}.enum", part["enum"], "a list")
    reference = part.get("$ref", "#")
    if not isinstance(reference, str) or not reference.startswith("#"):
        raise _wrong(f"{at}.$ref", reference, "a reference within the schema (#/...); nothing is fetched or read")


def _parts(at: str, part: Mapping[str, Any]) -> list[tuple[str, Any]]:
    found = [(f"{at}.{word}", part[word]) for word in _ONE if word in part]
    for word in _MANY:
        value = part.get(word, [])
        if not isinstance(value, list):
            raise _wrong(f"{at}.{word}", value, "a list of schemas")
        found += [(f"{at}.{word}[{place}]", inner) for place, inner in enumerate(value)]
    for word in _NAMED:
        value = part.get(word, {})
        if not isinstance(value, Mapping):
            raise _wrong(f"{at}.{word}", value, "an object of schemas")
        found += [(f"{at}.{word}.{name}"[:200], inner) for name, inner in value.items()]
    return found


def _wrong(field: str, value: Any, allowed: str) -> ApiError:
    return bad_request(f"{field}={ascii(value)[:80]} is not allowed: {allowed}", field, "invalid_value")
