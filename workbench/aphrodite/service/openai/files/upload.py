"""A multipart upload as it comes in: its file goes to the disk piece by piece, its fields stay small."""

from __future__ import annotations

from dataclasses import dataclass, field

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from aphrodite.service.errors import ApiError, bad_request
from aphrodite.service.http.call import Call, ClientGone
from aphrodite.service.storage.files import Incoming, on_disk

_MAX_FIELDS = 16
_MAX_FIELD_BYTES = 4096
#: What boundaries, headers and fields may add to the file itself.
_ENVELOPE_BYTES = 2**17
_MAX_HEADER_BYTES = 4096
_MAX_BOUNDARY = 70  # RFC 2046
#: Pieces are gathered up to this before a thread writes them.
_WRITE_BYTES = 2**20


@dataclass
class Upload:
    """What has come so far.

    Attributes:
        filename: of the part named "file"; None until it begins.
        fields: every other part, as text.
    """

    filename: str | None = None
    fields: dict[str, str] = field(default_factory=dict)


async def receive_upload(call: Call, incoming: Incoming, limit: int) -> Upload:
    """Read the body to its end; the file lies in `incoming` then.

    Raises:
        ApiError: 400 malformed, 413 over the limit, 415 not multipart, 507 the disk is full.
        ClientGone: the client left in between.
    """
    announced = call.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > limit + _ENVELOPE_BYTES:
        raise _too_large(limit)
    reader = _Reader(_boundary(call))
    received = 0
    while True:
        message = await call.receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        data = message.get("body", b"")
        received += len(data)
        reader.feed(data)
        if incoming.size + len(reader.file) > limit or received > limit + _ENVELOPE_BYTES:
            raise _too_large(limit)
        is_last = not message.get("more_body", False)
        if reader.file and (is_last or len(reader.file) >= _WRITE_BYTES):
            piece = reader.take()
            await on_disk(lambda piece=piece: incoming.write(piece))
        if is_last:
            return reader.finished()


def _boundary(call: Call) -> bytes:
    kind, options = parse_options_header(call.headers.get("content-type", ""))
    if kind != b"multipart/form-data":
        shown = kind.decode("latin-1")[:80]
        raise ApiError(
            415, f"content-type {shown!r} is not supported: multipart/form-data", code="unsupported_media_type"
        )
    boundary = options.get(b"boundary", b"")
    if not 0 < len(boundary) <= _MAX_BOUNDARY:
        raise bad_request(f"the content-type needs a boundary of 1 to {_MAX_BOUNDARY} characters", code="invalid_body")
    return boundary


class _Reader:
    """Follows the parts of a multipart body.

    Attributes:
        file: bytes of the file that were not taken yet.
    """

    def __init__(self, boundary: bytes) -> None:
        self.file = bytearray()
        self._upload = Upload()
        self._name: str | None = None
        self._is_file = self._is_whole = False
        self._value = bytearray()
        self._header_name, self._header_value = bytearray(), bytearray()
        self._disposition = b""
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
            max_header_size=_MAX_HEADER_BYTES,
        )

    def feed(self, data: bytes) -> None:
        try:
            self._parser.write(data)
        except MultipartParseError as error:
            raise bad_request(f"the body is not valid multipart/form-data: {error}", code="invalid_body") from None

    def take(self) -> bytes:
        piece, self.file = bytes(self.file), bytearray()
        return piece

    def finished(self) -> Upload:
        if not self._is_whole:
            raise bad_request("the body ends before its last boundary", code="invalid_body")
        return self._upload

    # ---- called by the parser

    def _on_part_begin(self) -> None:
        self._disposition, self._name, self._is_file = b"", None, False
        self._value.clear()

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = bytes(self._header_value)
        self._header_name.clear()
        self._header_value.clear()

    def _on_headers_finished(self) -> None:
        kind, options = parse_options_header(self._disposition.decode("latin-1"))
        if kind != b"form-data" or b"name" not in options:
            raise bad_request("a part of the body has no name", code="invalid_body")
        self._name = _text(options[b"name"], "the name of a part")
        self._is_file = self._name == "file"
        if self._name in self._upload.fields or (self._is_file and self._upload.filename is not None):
            raise bad_request(f"{self._name[:80]} is given twice", self._name[:80], "invalid_value")
        if self._is_file:
            self._upload.filename = _text(options.get(b"filename", b""), "the name of the file")
        elif len(self._upload.fields) == _MAX_FIELDS:
            raise bad_request(f"the body has more than {_MAX_FIELDS} fields", code="invalid_body")

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self.file += data[start:end]
        elif len(self._value) + end - start > _MAX_FIELD_BYTES:
            raise bad_request(f"{self._name} is longer than {_MAX_FIELD_BYTES} bytes", self._name, "invalid_value")
        else:
            self._value += data[start:end]

    def _on_part_end(self) -> None:
        assert self._name is not None, "the parser ends no part that it has not begun"
        if not self._is_file:
            self._upload.fields[self._name] = _text(bytes(self._value), self._name)

    def _on_end(self) -> None:
        self._is_whole = True


def _text(data: bytes, what: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise bad_request(f"{what} is not UTF-8", code="invalid_body") from None


def _too_large(limit: int) -> ApiError:
    return ApiError(
        413,
        f"the file is over {limit:,} bytes",
        param="file",
        code="request_too_large",
        headers={"connection": "close"},
    )
