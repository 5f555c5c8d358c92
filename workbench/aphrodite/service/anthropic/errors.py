"""What goes wrong, as Anthropic's clients expect to hear it."""

from __future__ import annotations

import msgspec

from aphrodite.service.errors import ApiError
from aphrodite.service.http.replies import named_event

_TYPES = {
    400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error",
    413: "request_too_large", 429: "rate_limit_error", 503: "overloaded_error", 504: "timeout_error",
}  # fmt: skip


class ErrorBody(msgspec.Struct):
    """`param` and `code` are this service's own: the field it is about, and a word a program can act on."""

    type: str
    message: str
    param: str | None
    code: str | None


class ErrorAnswer(msgspec.Struct, kw_only=True):
    """The body of every answer that is not a success, and the event that ends a stream that failed."""

    type: str = "error"
    error: ErrorBody


def answer_of(error: ApiError) -> ErrorAnswer:
    """The error in this protocol's words."""
    kind = _TYPES.get(error.status, "api_error" if error.status >= 500 else "invalid_request_error")
    return ErrorAnswer(error=ErrorBody(kind, error.message, error.param, error.code))


def event_of(error: ApiError) -> bytes:
    """The error as an event."""
    return named_event("error", answer_of(error))
