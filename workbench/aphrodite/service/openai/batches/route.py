"""`/v1/batches`."""

from __future__ import annotations

from typing import Any

import msgspec

from aphrodite.service.errors import ApiError, bad_request
from aphrodite.service.http.call import Call
from aphrodite.service.http.endpoint import Endpoint
from aphrodite.service.http.replies import Reply, json_reply
from aphrodite.service.openai.batches.runner import URLS
from aphrodite.service.openai.metadata import checked_metadata
from aphrodite.service.openai.pages import Page, PageQuery, not_found, page_reply, page_request
from aphrodite.service.openai.responses.shapes import ResponseUsage, response_usage
from aphrodite.service.openai.shapes import usage
from aphrodite.service.storage.batches import (
    MAX_UNFINISHED,
    UNFINISHED,
    BatchError,
    StoredBatch,
    TooManyBatches,
)

_WINDOW, _WINDOW_SECONDS = "24h", 24 * 3600


class BatchRequest(msgspec.Struct):
    """A stored file whose lines are to be answered; `completion_window` is "24h"."""

    input_file_id: str
    endpoint: str
    completion_window: str
    metadata: dict[str, str] | None = None
    output_expires_after: Any = None


class RequestCounts(msgspec.Struct):
    total: int
    completed: int
    failed: int


class BatchErrors(msgspec.Struct):
    data: list[BatchError]
    object: str = "list"


class Batch(msgspec.Struct, kw_only=True):
    """A batch; times are Unix seconds, null until they come."""

    id: str
    object: str = "batch"
    endpoint: str
    model: str | None
    errors: BatchErrors | None
    input_file_id: str
    completion_window: str = _WINDOW
    status: str
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    in_progress_at: int | None
    expires_at: int
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: RequestCounts
    usage: ResponseUsage
    metadata: dict[str, str] | None


async def create(call: Call) -> Reply:
    request = await call.json(BatchRequest)
    await _check(call, request)
    metadata = checked_metadata(request.metadata) or None
    try:
        made = await call.service.storage.batches.create(
            call.user, request.endpoint, request.input_file_id, _WINDOW_SECONDS, metadata
        )
    except TooManyBatches:
        raise ApiError(
            429, f"{MAX_UNFINISHED} of your batches are unfinished", code="batch_limit", headers={"retry-after": "60"}
        ) from None
    return json_reply(batch_object(made))


async def _check(call: Call, request: BatchRequest) -> None:
    if request.endpoint not in URLS:
        shown, allowed = ascii(request.endpoint)[:80], ", ".join(URLS)
        raise bad_request(f"endpoint={shown} is not allowed: one of {allowed}", "endpoint", "invalid_value")
    if request.completion_window != _WINDOW:
        shown = ascii(request.completion_window)[:80]
        raise bad_request(f"completion_window={shown} is not allowed: {_WINDOW}", "completion_window", "invalid_value")
    if request.output_expires_after is not None:
        raise bad_request(
            "output_expires_after is not supported: --keep-days of the service says how long files stay",
            "output_expires_after",
        )
    stored = await call.service.storage.files.get(call.user.tenant, request.input_file_id)
    if stored is None:
        raise not_found("file", request.input_file_id, "input_file_id")
    if stored.purpose != "batch":
        raise bad_request(
            f"the file's purpose is {stored.purpose}; a batch reads files of purpose batch", "input_file_id"
        )


async def list_batches(call: Call) -> Reply:
    page = page_request(call)
    found = await call.service.storage.batches.page(call.user.tenant, page)
    if found is None:
        raise not_found("batch", page.after or "", "after")
    return page_reply([batch_object(row) for row in found.rows], [row.id for row in found.rows], found.has_more)


async def get(call: Call) -> Reply:
    batch_id = call.path("batch_id")
    return json_reply(_found(await call.service.storage.batches.get(call.user.tenant, batch_id), batch_id))


async def cancel(call: Call) -> Reply:
    batch_id = call.path("batch_id")
    stored = await call.service.storage.batches.cancel(call.user.tenant, batch_id)
    answer = _found(stored, batch_id)
    if answer.status not in (*UNFINISHED, "cancelled"):
        raise bad_request(f"a batch that is {answer.status} cannot be cancelled", "batch_id", "invalid_value")
    return json_reply(answer)


def _found(stored: StoredBatch | None, batch_id: str) -> Batch:
    if stored is None:
        raise not_found("batch", batch_id)
    return batch_object(stored)


def batch_object(stored: StoredBatch) -> Batch:
    """As clients see it."""
    details, times = stored.details, stored.details.times
    return Batch(
        id=stored.id,
        endpoint=stored.endpoint,
        model=details.model,
        errors=BatchErrors(details.errors) if details.errors else None,
        input_file_id=stored.input_file,
        status=stored.status,
        output_file_id=details.output_file_id,
        error_file_id=details.error_file_id,
        created_at=stored.created,
        in_progress_at=times.get("in_progress_at"),
        expires_at=stored.expires,
        finalizing_at=times.get("finalizing_at"),
        completed_at=times.get("completed_at"),
        failed_at=times.get("failed_at"),
        expired_at=times.get("expired_at"),
        cancelling_at=times.get("cancelling_at"),
        cancelled_at=times.get("cancelled_at"),
        request_counts=RequestCounts(stored.total, stored.completed, stored.failed),
        usage=response_usage(
            usage(stored.input_tokens, stored.output_tokens, stored.cached_tokens, stored.reasoning_tokens)
        ),
        metadata=details.metadata,
    )


ENDPOINTS = (
    Endpoint("POST", "/v1/batches", create, "Answer the lines of a file in the background.", request=BatchRequest,
             answer=Batch, tag="Batches"),
    Endpoint("GET", "/v1/batches", list_batches, "The caller's batches.", query=PageQuery, answer=Page[Batch],
             tag="Batches"),
    Endpoint("GET", "/v1/batches/{batch_id}", get, "One batch.", answer=Batch, tag="Batches"),
    Endpoint("POST", "/v1/batches/{batch_id}/cancel", cancel, "Answer no more of its lines.", answer=Batch,
             tag="Batches"),
)  # fmt: skip
