"""A model's text on its way out: what is a tool call in it becomes one, everything else stays text."""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable, Collection

from aphrodite.service.turn.call_forms import CallForm
from aphrodite.service.turn.call_object import CallObject
from aphrodite.service.turn.deltas import Delta, TextDelta, ToolArgumentsDelta, ToolCallStarted

_BLANKS = " \n\r\t"
_ALPHABET = string.ascii_letters + string.digits


class ToolCalls:
    """Watches one sequence's text; nothing that may become a call is shown too early.

    Attributes:
        count: calls that have begun.
    """

    def __init__(self, form: CallForm, names: Collection[str]) -> None:
        self._form, self._names = form, names
        self.count = 0
        self._held = ""  # may belong to a call
        self._call: CallObject | None = None
        self._read: Callable[[str], None] = self._in_text if form.marker else self._before_call
        self._deltas: list[Delta] = []

    @property
    def is_in_call(self) -> bool:
        """A call has begun and is not whole."""
        return self._call is not None

    def add(self, text: str) -> list[Delta]:
        """Take new text."""
        for char in text:
            self._read(char)
        return self._taken()

    def finish(self) -> list[Delta]:
        """What is still held back when the text ends; what can only stand beside a call is left out."""
        if self._call is not None and self._call.name is None:
            self._say(self._held + self._call.raw)
        elif self._call is None and self._read != self._after_call and not (self.count and self._held.isspace()):
            self._say(self._held)
        self._held = ""
        return self._taken()

    def _taken(self) -> list[Delta]:
        deltas, self._deltas = self._deltas, []
        return deltas

    # ---- one method for each place in the text

    def _in_text(self, char: str) -> None:
        self._held += char
        marker = self._form.marker
        if self._held.endswith(marker):
            self._read = self._before_call
            return
        shown = len(self._held) - _held_length(self._held, marker)
        self._say(self._held[:shown])
        self._held = self._held[shown:]

    def _in_plain_text(self, char: str) -> None:
        self._say(char)

    def _before_call(self, char: str) -> None:
        if char == "{":
            self._begin_call(char)
        else:
            self._held += char
            if char not in _BLANKS and char != self._form.opening.strip():
                self._back_to_text()

    def _in_call(self, char: str) -> None:
        call = self._call
        assert call is not None
        had_begun = call.name is not None
        call.add(char)
        if call.is_no_call:
            self._call, self._held = None, "" if had_begun else self._held + call.raw
            return self._back_to_text()
        if call.name is not None and not had_begun:
            self._deltas.append(ToolCallStarted(self.count, self._new_id(), call.name))
            self.count, self._held = self.count + 1, ""
        if arguments := call.new_arguments():
            self._add_arguments(arguments)
        if call.is_over:
            self._call, self._read = None, self._after_call

    def _after_call(self, char: str) -> None:
        if char == "{" and not self._form.marks_each:
            return self._begin_call(char)
        self._held += char
        beside, closing = self._held.strip(_BLANKS), self._form.closing.strip()
        if self._form.marks_each and beside == closing:
            self._held, self._read = "", self._in_text
        elif not (closing.startswith(beside) if self._form.marks_each else char in _BLANKS + ",;]"):
            self._back_to_text()

    # ---- helpers

    def _begin_call(self, char: str) -> None:
        self._call, self._read = CallObject(self._names), self._in_call
        self._in_call(char)

    def _back_to_text(self) -> None:
        self._read = self._in_text if self._form.marker else self._in_plain_text
        self._say(self._held)
        self._held = ""

    def _add_arguments(self, text: str) -> None:
        last = self._deltas[-1] if self._deltas else None
        if isinstance(last, ToolArgumentsDelta):
            self._deltas[-1] = ToolArgumentsDelta(last.place, last.arguments + text)
        else:
            self._deltas.append(ToolArgumentsDelta(self.count - 1, text))

    def _say(self, text: str) -> None:
        last = self._deltas[-1] if self._deltas else None
        if isinstance(last, TextDelta):
            self._deltas[-1] = TextDelta(last.text + text)
        elif text:
            self._deltas.append(TextDelta(text))

    def _new_id(self) -> str:
        if self._form.id_length is not None:
            return "".join(secrets.choice(_ALPHABET) for _ in range(self._form.id_length))
        return "call_" + secrets.token_hex(12)


def _held_length(text: str, marker: str) -> int:
    """Length of the end of `text` that may belong to a marker: a part of it, and blanks before."""
    part = max(n for n in range(min(len(marker), len(text) + 1)) if text.endswith(marker[:n]))
    return len(text) - len(text[: len(text) - part].rstrip(_BLANKS))
