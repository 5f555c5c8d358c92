"""`/v1/files`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Annotated, BinaryIO, Literal, get_args

import msgspec
from msgspec import UNSET, Meta, UnsetType
from starlette.types import Receive, Scope, Send

from aphrodite.service.errors import bad_request
from aphrodite.service.http.call import Call
from aphrodite.service.http.endpoint import Endpoint
from aphrodite.service.http.replies import Reply, encoded_headers, json_reply
from aphrodite.service.openai.files.upload import Upload, receive_upload
from aphrodite.service.openai.pages import Deleted, Page, not_found, page_reply, page_request
from aphrodite.service.storage.files import StoredFile, on_disk

Purpose = Literal["assistants", "batch", "evals", "fine-tune", "user_data", "vision"]
PURPOSES = get_args(Purpose)
MAX_LISTED = 10_000
_MAX_NAME = 255
_PIECE_BYTES = 2**18


class File(msgspec.Struct):
    """A stored file; `filename` is a label that its owner gave it."""

    id: str
    bytes: int
    created_at: int
    filename: str
    purpose: str
    object: str = "file"
    status: str = "processed"
    expires_at: None = None
    status_details: None = None


class FileForm(msgspec.Struct):
    """The parts of an upload, as they are documented; receive_upload reads them."""

    file: Annotated[str, Meta(extra_json_schema={"contentMediaType": "application/octet-stream"})]
    purpose: Purpose


class FilesQuery(msgspec.Struct):
    """How the list is asked for, as it is documented."""

    limit: Annotated[int, Meta(ge=1, le=MAX_LISTED)] = MAX_LISTED
    order: Literal["asc", "desc"] = "desc"
    after: str | UnsetType = UNSET
    purpose: str | UnsetType = UNSET


async def create(call: Call) -> Reply:
    incoming = await call.service.storage.files.begin()
    try:
        upload = await receive_upload(call, incoming, call.service.settings.max_file_bytes)
        filename, purpose = _checked(upload)
        if incoming.size == 0:
            raise bad_request("file is empty", "file", "invalid_value")
        stored = await call.service.storage.files.keep(call.user.tenant, incoming, filename, purpose)
        return json_reply(file_object(stored))
    finally:
        await asyncio.to_thread(incoming.discard)


def _checked(upload: Upload) -> tuple[str, str]:
    """Name and purpose."""
    if upload.filename is None:
        raise bad_request("file is missing", "file", "missing_required_parameter")
    if "purpose" not in upload.fields:
        raise bad_request("purpose is missing", "purpose", "missing_required_parameter")
    for name in upload.fields:
        if name.startswith("expires_after"):
            raise bad_request(
                "expires_after is not supported: --keep-days of the service says how long files stay", "expires_after"
            )
    purpose = upload.fields["purpose"]
    if purpose not in PURPOSES:
        allowed = ", ".join(PURPOSES)
        raise bad_request(f"purpose={purpose[:40]!r} is not allowed: one of {allowed}", "purpose", "invalid_value")
    return _checked_name(upload.filename), purpose


def _checked_name(filename: str) -> str:
    """A name is shown to people and put into headers: it is no path and has no control characters."""
    if not 0 < len(filename) <= _MAX_NAME:
        raise bad_request(f"the file needs a name of 1 to {_MAX_NAME} characters", "file", "invalid_value")
    if not filename.isprintable() or "/" in filename or "\\" in filename or filename in (".", ".."):
        raise bad_request(f"the file's name {ascii(filename)[:80]} is not a plain name", "file", "invalid_value")
    return filename


async def list_files(call: Call) -> Reply:
    page = page_request(call, default=MAX_LISTED, largest=MAX_LISTED)
    found = await call.service.storage.files.page(call.user.tenant, call.query.get("purpose"), page)
    if found is None:
        raise not_found("file", page.after or "", "after")
    return page_reply([file_object(row) for row in found.rows], [row.id for row in found.rows], found.has_more)


async def get(call: Call) -> Reply:
    return json_reply(file_object(await _found(call)))


async def content(call: Call) -> FileReply:
    stored = await _found(call)
    return FileReply(await call.service.storage.files.open(stored.id), stored)


async def delete(call: Call) -> Reply:
    stored = await _found(call)
    batch = await call.service.storage.batches.uses(call.user.tenant, stored.id)
    if batch is not None:
        raise bad_request(f"{batch} still reads this file; cancel it first", "file_id", "file_in_use")
    await call.service.storage.files.delete(call.user.tenant, stored.id)
    return json_reply(Deleted(stored.id, "file"))


async def _found(call: Call) -> StoredFile:
    file_id = call.path("file_id")
    stored = await call.service.storage.files.get(call.user.tenant, file_id)
    if stored is None:
        raise not_found("file", file_id)
    return stored


def file_object(stored: StoredFile) -> File:
    """As clients see it."""
    return File(stored.id, stored.bytes, stored.created, stored.filename, stored.purpose)


class FileReply:
    """The bytes of a file, read piece by piece. Always a download: what a user stored is never shown as a page."""

    def __init__(self, file: BinaryIO, stored: StoredFile) -> None:
        self._file = file
        self.headers: dict[str, str] = {
            "content-type": "application/octet-stream",
            "content-length": str(stored.bytes),
            "content-disposition": "attachment",
            "x-content-type-options": "nosniff",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            headers = encoded_headers(self.headers)
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            if scope["method"] != "HEAD":
                async for piece in self._pieces():
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._file.close()

    async def _pieces(self) -> AsyncGenerator[bytes]:
        while piece := await on_disk(lambda: self._file.read(_PIECE_BYTES)):
            yield piece


ENDPOINTS = (
    Endpoint("POST", "/v1/files", create, "Store a file.", form=FileForm, answer=File, tag="Files"),
    Endpoint("GET", "/v1/files", list_files, "The caller's files.", query=FilesQuery, answer=Page[File],
             tag="Files"),
    Endpoint("GET", "/v1/files/{file_id}", get, "What is known of a file.", answer=File, tag="Files"),
    Endpoint("GET", "/v1/files/{file_id}/content", content, "The bytes of a file.",
             answer_type="application/octet-stream", tag="Files"),
    Endpoint("DELETE", "/v1/files/{file_id}", delete, "Delete a file.", answer=Deleted, tag="Files"),
)  # fmt: skip
