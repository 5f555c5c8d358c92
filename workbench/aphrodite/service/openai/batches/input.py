"""The input file of a batch, a line at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO

import msgspec
from msgspec import Raw

from aphrodite.service.errors import ApiError, bad_request
from aphrodite.service.http import wire

#: Lines that are checked, and stored, at a time.
LINES_AT_ONCE = 500
_MAX_CUSTOM_ID = 512
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_NOTHING = (b"", b"null", b"false")


class BatchLine(msgspec.Struct):
    """One line of the input file."""

    custom_id: str
    method: str
    url: str
    body: Raw


class _Body(msgspec.Struct):
    """What a line's body must not ask for, and the model it names."""

    model: Raw = Raw(b"null")
    stream: Raw = Raw(b"null")
    background: Raw = Raw(b"null")


@dataclass(frozen=True)
class RawLine:
    """A line where it lies; `text` is None where it is longer than allowed."""

    number: int
    start: int
    length: int
    text: bytes | None


@dataclass(frozen=True)
class CheckedLine:
    """A line, and what it asks for or why it cannot be."""

    raw: RawLine
    custom_id: str | None
    model: str | None = None
    error: ApiError | None = None


class LineReader:
    """Lines of a file, blank ones left out; of a line that is too long no more is held than its beginning."""

    def __init__(self, file: BinaryIO, endpoint: str, limit: int) -> None:
        self._endpoint = endpoint
        self._lines = _lines(file, limit)

    def take(self) -> list[CheckedLine]:
        """The next few, checked; [] at the end. Blocks."""
        return [_checked(line, self._endpoint) for line in islice(self._lines, LINES_AT_ONCE)]


def _lines(file: BinaryIO, limit: int) -> Iterator[RawLine]:
    number = start = 0
    while piece := file.readline(limit + 2):  # the line's end is not counted: \n or \r\n
        number += 1
        length = len(piece)
        while not piece.endswith(b"\n") and (rest := file.readline(limit)):
            piece, length = rest, length + len(rest)
        text = piece if length == len(piece) else None
        if text is not None and number == 1:
            text = text.removeprefix(_BYTE_ORDER_MARK)
        if text is None or text.strip():
            yield RawLine(number, start, length, text if text is not None and len(text.rstrip()) <= limit else None)
        start += length


def read_line(descriptor: int, start: int, length: int) -> BatchLine:
    """A line that was checked before; any thread may read."""
    return msgspec.json.decode(os.pread(descriptor, length, start).removeprefix(_BYTE_ORDER_MARK), type=BatchLine)


def _checked(raw: RawLine, endpoint: str) -> CheckedLine:
    if raw.text is None:
        return CheckedLine(raw, None, error=bad_request("the line is too long", code="line_too_long"))
    try:
        line, _ = wire.decode(raw.text, BatchLine)
    except ApiError as error:
        return CheckedLine(raw, _custom_id(raw.text), error=error)
    try:
        return CheckedLine(raw, line.custom_id, _checked_request(line, endpoint))
    except ApiError as error:
        return CheckedLine(raw, line.custom_id, error=error)


def _checked_request(line: BatchLine, endpoint: str) -> str | None:
    """The model it names."""
    if not 0 < len(line.custom_id) <= _MAX_CUSTOM_ID:
        raise bad_request(f"custom_id needs 1 to {_MAX_CUSTOM_ID} characters", "custom_id", "invalid_value")
    if line.method != "POST":
        raise bad_request(f"method={line.method[:40]!r} is not allowed: POST", "method", "invalid_value")
    if line.url != endpoint:
        raise bad_request(f"url={line.url[:80]!r} is not allowed: {endpoint}, as the batch", "url", "invalid_url")
    body, _ = wire.decode(bytes(line.body), _Body)
    for name in ("stream", "background"):
        if bytes(getattr(body, name)) not in _NOTHING:
            raise bad_request(f"{name} is not allowed in a batch", f"body.{name}", "invalid_value")
    return _text(bytes(body.model))


def _custom_id(text: bytes) -> str | None:
    """That of a line which is wrong otherwise, if it can be found."""
    try:
        return msgspec.json.decode(text, type=_Named).custom_id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


class _Named(msgspec.Struct):
    custom_id: str | None = None


def _text(data: bytes) -> str | None:
    value = msgspec.json.decode(data)
    return value if isinstance(value, str) else None
