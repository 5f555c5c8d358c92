"""Grammars for replies that hold tool calls, in llguidance's Lark (its docs/syntax.md)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from aphrodite.service.turn.call_forms import CallForm
from aphrodite.service.turn.tools import Tool

#: One blank, or a line break and its indentation; as the engine has it for whole JSON texts.
_JSON_OPTIONS = {"whitespace_pattern": r"\x20|\n\x20{0,32}", "lenient": False, "coerce_one_of": False}
_ANY_TEXT = "/(?s:.*)/"


class CallGrammar:
    """Replies with calls of these tools.

    Args:
        added: ids of added tokens by their text: where a form writes one, it is that token, never its characters.
        one_only: no second call.
    """

    def __init__(self, form: CallForm, tools: Sequence[Tool], added: Mapping[str, int], one_only: bool) -> None:
        self._form, self._tools, self._one_only = form, tools, one_only
        self._added = added
        self._marker = self._written(form.marker)

    def forced(self) -> str:
        """Nothing but calls, at least one."""
        return self._grammar(f"{self._marker} rest", [], strict=True)

    def free(self) -> str:
        """Any text, and calls after it; in these, arguments of strict tools follow their schemas."""
        if not self._form.marker:  # a reply is a call from its first brace on, or text
            text = r"TEXT: /\s*[^{\s](?s:.*)/"
            return self._grammar("rest | TEXT?", [text], strict=False)
        if self._form.marker in self._added:
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
        joint, opening, closing = map(self._written, (form.joint, form.opening, form.closing))
        if form.marks_each:
            again = "" if self._one_only else f" ({joint}? {self._marker} one)*"
            rest = [f"rest: one{again}", f"one: {opening} call {closing}"]
        else:
            again = "" if self._one_only else f" ({joint} call)*"
            rest = [f"rest: {opening} call{again} {closing}"]
        calls = "call: " + " | ".join(f"call{place}" for place in range(len(self._tools)))
        bodies = [line for place, tool in enumerate(self._tools) for line in self._body(place, tool, strict)]
        return "\n".join([f"start: {start}", *more, *rest, calls, *bodies])

    def _written(self, text: str) -> str:
        """A text of the form, with added tokens as such."""
        parts = re.split("(" + "|".join(map(re.escape, self._added)) + ")", text) if self._added else [text]
        lark = [f"<[{self._added[part]}]>" if part in self._added else json.dumps(part) for part in parts if part]
        return " ".join(lark) or '""'

    def _body(self, place: int, tool: Tool, strict: bool) -> list[str]:
        head = json.dumps(f'{{"name": {json.dumps(tool.name)}, "{self._form.arguments_key}": ')
        schema = tool.arguments_schema if strict or tool.strict else {"type": "object"}
        return [f'call{place}: {head} arguments{place} "}}"', f"arguments{place}: {_json(schema)}"]


def _json(schema: Mapping[str, Any]) -> str:
    return "%json " + json.dumps({**schema, "x-guidance": _JSON_OPTIONS})
