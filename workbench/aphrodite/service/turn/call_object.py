"""One tool call's JSON object, read as it comes: its name as soon as it is there, its arguments piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Collection

import msgspec

_ARGUMENTS = ("arguments", "parameters")
_KEYS = (*_ARGUMENTS, "name", "id", "type")
_BLANKS = " \n\r\t"


class CallObject:
    """Takes characters from the opening brace on.

    Attributes:
        raw: all of it, for when it is no call after all.
        name: of the function, once it is known.
        is_over: its closing brace has come.
        is_no_call: it is no JSON object, has other keys, or names a function that nobody offered.
    """

    def __init__(self, known: Collection[str]) -> None:
        self.raw = ""
        self.name: str | None = None
        self.is_over = self.is_no_call = False
        self._known = known
        self._read: Callable[[str], None] = self._brace
        self._key = self._value = self._arguments = ""
        self._depth = 0
        self._is_quoted = self._is_escaped = False
        self._has_arguments = False

    def add(self, char: str) -> None:
        """Read one character."""
        self.raw += char
        self._read(char)

    def new_arguments(self) -> str:
        """Arguments that have come since the last call; only once the name is known."""
        if self.name is None:
            return ""
        found, self._arguments = self._arguments, ""
        return found

    # ---- one method for each place in the object

    def _brace(self, char: str) -> None:
        self._expect(char == "{", self._before_key)

    def _before_key(self, char: str) -> None:
        if char == "}":
            self._end()
        elif char not in _BLANKS and char != ",":
            self._key = ""
            self._expect(char == '"', self._in_key)

    def _in_key(self, char: str) -> None:
        if char != '"':
            self._key += char
        else:
            self._expect(self._key in _KEYS, self._before_value)

    def _before_value(self, char: str) -> None:
        if char in _BLANKS or (char == ":" and not self._value):
            return
        self._value, self._depth, self._is_quoted, self._is_escaped = "", 0, False, False
        self._has_arguments |= self._key in _ARGUMENTS
        self._read = self._in_value
        self._in_value(char)

    def _in_value(self, char: str) -> None:
        if not self._is_quoted and self._depth == 0 and self._value and char in ",}" + _BLANKS:
            self._value_is_over()  # a number, a word
            return self._read(char)
        self._value += char
        if self._key in _ARGUMENTS and self._value[0] != '"':
            self._arguments += char
        self._count(char)
        if self._depth == 0 and not self._is_quoted and char in '}]"':
            self._value_is_over()

    def _count(self, char: str) -> None:
        if self._is_escaped:
            self._is_escaped = False
        elif self._is_quoted:
            self._is_escaped = char == "\\"
            self._is_quoted = char != '"'
        elif char == '"':
            self._is_quoted = True
        elif char in "{[":
            self._depth += 1
        elif char in "}]":
            self._depth -= 1

    def _value_is_over(self) -> None:
        value, self._value, self._read = self._value, "", self._before_key
        if self._key == "name":
            name = _text_of(value)
            self._expect(name in self._known, self._before_key)
            self.name = name
        elif self._key in _ARGUMENTS and value.startswith('"'):
            self._arguments += _text_of(value) or "{}"  # some models quote them once more

    def _end(self) -> None:
        if not self._has_arguments:
            self._arguments += "{}"
        self.is_over, self.is_no_call = True, self.name is None

    def _expect(self, is_right: bool, then: Callable[[str], None]) -> None:
        self._read = then
        self.is_no_call |= not is_right


def _text_of(value: str) -> str | None:
    try:
        return msgspec.json.decode(value, type=str)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None
