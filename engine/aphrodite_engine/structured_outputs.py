"""What a text must look like, as a request says it: one of five kinds, and what may come before.

Checked here for type and size; whether it is a grammar shows where it is compiled (constraints/grammar.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aphrodite_engine.errors import ParameterError

FIELD = "structured_outputs"
MAX_CHARACTERS = 1 << 16
MAX_MARKER_CHARACTERS = 64

#: The types of each kind, and what it is in words.
KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "json": ((Mapping, str), "a JSON schema: an object, or its text"),
    "regex": ((str,), "a regular expression that the whole text matches"),
    "choice": ((list, tuple), "a list of at least one string"),
    "grammar": ((str,), "a grammar as text, in Lark's syntax or GBNF"),
    "json_object": ((bool,), "true"),
}

#: Kind and text of a grammar, and opening and closing of the thought before it: equal sources are equal grammars.
Source = tuple[str, ...]


def check_structured_outputs(value: object) -> None:
    """Raises ParameterError, naming what is wrong."""
    if value is None:
        return
    given = [kind for kind in value if kind != "after"] if isinstance(value, Mapping) else []
    if not isinstance(value, Mapping) or len(given) != 1 or given[0] not in KINDS:
        raise ParameterError(FIELD, value, f"exactly one of {', '.join(KINDS)}")
    _check_after(value.get("after"))
    _check_kind(given[0], value[given[0]])


def _check_kind(kind: str, asked: Any) -> None:
    name, (types, expected) = f"{FIELD}.{kind}", KINDS[kind]
    good = isinstance(asked, types) and asked is not False
    if isinstance(asked, (list, tuple)):
        good = good and bool(asked) and all(isinstance(text, str) for text in asked)
    if not good:
        raise ParameterError(name, asked, expected)
    try:
        size = len(asked if isinstance(asked, str) else json.dumps(asked, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ParameterError(name, asked, f"JSON ({error})") from None
    if not 0 < size <= MAX_CHARACTERS:
        raise ParameterError(name, asked, f"1 to {MAX_CHARACTERS:,} characters, not {size:,}")


def _check_after(value: Any) -> None:
    if value is None:
        return
    good = isinstance(value, (list, tuple)) and len(value) == 2 and all(isinstance(text, str) for text in value)
    if not (good and value[1] and max(map(len, value)) <= MAX_MARKER_CHARACTERS):
        expected = f"the opening (or '') and the closing of a thought, of up to {MAX_MARKER_CHARACTERS} characters each"
        raise ParameterError(f"{FIELD}.after", value, expected)


def kind_of(asked: Mapping[str, Any]) -> str:
    """Which of the kinds a checked request names."""
    return next(kind for kind in asked if kind != "after")


def source_of(asked: Mapping[str, Any]) -> Source:
    """Of a checked request."""
    kind, after = kind_of(asked), tuple(asked.get("after") or ())
    if kind == "json_object":
        return "json", '{"type": "object"}', *after
    value = asked[kind]
    return kind, value if isinstance(value, str) else json.dumps(value), *after
