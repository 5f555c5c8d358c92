"""Grammars for replies that hold tool calls, in llguidance's Lark (its docs/syntax.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from aphrodite.service.openai.call_forms import CallForm
from aphrodite.service.openai.tools import Tool

#: One blank, or a line break and its indentation; as the engine has it for whole JSON texts.
_JSON_OPTIONS = {"whitespace_pattern": r"\x20|\n\x20{0,32}", "lenient": False, "coerce_one_of": False}
_ANY_TEXT = "/(?s:.*)/"


class CallGrammar:
    """Replies with calls of these tools.

    Args:
        special: ids of special tokens by their text: a marker among them is that token, never its characters.
        one_only: no second call.
    """

    def __init__(self, form: CallForm, tools: Sequence[Tool], special: Mapping[str, int], one_only: bool) -> None:
        self._form, self._tools, self._one_only = form, tools, one_only
        self._is_special = form.marker in special
        self._marker = f"<[{special[form.marker]}]>" if self._is_special else _quoted(form.marker)

    def forced(self) -> str:
        """Nothing but calls, at least one."""
        return self._grammar(f"{self._marker} rest", [], strict=True)

    def free(self) -> str:
        """Any text, and calls after it; in these, arguments of strict tools follow their schemas."""
        if not self._form.marker:  # a reply is a call from its first brace on, or text
            text = r"TEXT: /\s*[^{\s](?s:.*)/"
            return self._grammar("rest | TEXT?", [text], strict=False)
        if self._is_special:
            return self._grammar(f"TEXT? ({self._marker} rest)?", [f"TEXT: {_ANY_TEXT}"], strict=False)
        # As soon as the marker is there, the lazy lexeme ends the text.
        text = [f"TEXT: {_ANY_TEXT}", f"lead[lazy]: TEXT {self._marker}"]
        return self._grammar("TEXT | lead rest", text, strict=False)

    def or_json(self, schema: Mapping[str, Any]) -> str:
        """Calls, or else a text that follows a schema."""
        return self._grammar(f"{self._marker} rest | answer", [f"answer: {_json(schema)}"], strict=True)

    def _grammar(self, start: str, more: list[str], *, strict: bool) -> str:
        """`rest` is everything behind the first marker."""
        form = self._form
        joint, opening, closing = _quoted(form.joint), _quoted(form.opening), _quoted(form.closing)
        if form.marks_each:
            again = "" if self._one_only else f" ({joint}? {self._marker} one)*"
            rest = [f"rest: one{again}", f"one: {opening} call {closing}"]
        else:
            again = "" if self._one_only else f" ({joint} call)*"
            rest = [f"rest: {opening} call{again} {closing}"]
        calls = "call: " + " | ".join(f"call{place}" for place in range(len(self._tools)))
        bodies = [line for place, tool in enumerate(self._tools) for line in self._body(place, tool, strict)]
        return "\n".join([f"start: {start}", *more, *rest, calls, *bodies])

    def _body(self, place: int, tool: Tool, strict: bool) -> list[str]:
        head = _quoted(f'{{"name": {json.dumps(tool.name)}, "{self._form.arguments_key}": ')
        schema = tool.arguments_schema if strict or tool.strict else {"type": "object"}
        return [f'call{place}: {head} arguments{place} "}}"', f"arguments{place}: {_json(schema)}"]


def _json(schema: Mapping[str, Any]) -> str:
    return "%json " + json.dumps({**schema, "x-guidance": _JSON_OPTIONS})


def _quoted(text: str) -> str:
    return json.dumps(text)
