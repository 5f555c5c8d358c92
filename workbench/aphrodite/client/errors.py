"""What can go wrong between a client and its service; errors of bad input are the engine's own, too."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from aphrodite_engine.errors import (
    AphroditeError,
    ChatTemplateError,
    ContextOverflowError,
    EngineClosedError,
    ParameterError,
    UnsupportedModelError,
)


class ClientError(AphroditeError):
    """Root of every error a client raises on its own account.

    Attributes:
        request_id: names the request in the service's log; None where it never got there.
    """

    def __init__(self, message: str, *, request_id: str | None = None) -> None:
        # Not super(): beside it stand OSError and the engine's errors, which are made of other arguments.
        Exception.__init__(self, message)
        self.message, self.request_id = message, request_id


class ConnectionFailed(ClientError, ConnectionError):
    """The service cannot be reached, or hung up before it answered."""


class RequestTimeout(ClientError, TimeoutError):
    """Nothing came for longer than the client's timeout."""


class StreamInterrupted(ClientError):
    """A stream ended before its end: the connection broke, or the service said why.

    Attributes:
        code: the service's word for it, None where the connection broke.
    """

    def __init__(self, message: str, *, code: str | None = None, request_id: str | None = None) -> None:
        super().__init__(message, request_id=request_id)
        self.code = code


class UnexpectedAnswer(ClientError):
    """What came back is not what this client understands: another kind of server, or a proxy's page."""


class ClientClosed(ClientError, EngineClosedError):
    """The client was closed; create a new one."""

    def __init__(self) -> None:
        super().__init__("this client was closed; create a new one")


class Problem(msgspec.Struct):
    """The error object of an answer, as far as it is there."""

    message: str = ""
    type: str | None = None
    param: str | None = None
    code: str | int | None = None


class StatusError(ClientError):
    """The service answered with an error.

    Attributes:
        status: the HTTP status.
        param: the field it is about.
        code: a word a program can act on.
        retry_after: seconds after which another try may succeed, as the service says.
    """

    def __init__(
        self, status: int, problem: Problem, *, request_id: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(problem.message or f"the service answered with status {status}", request_id=request_id)
        self.status, self.param, self.code, self.retry_after = status, problem.param, problem.code, retry_after


class BadRequestError(StatusError, ParameterError):
    """400, 413, 415, 422: the request is wrong. Also a ParameterError, as the engine itself would raise."""

    def __init__(self, status: int, problem: Problem, **more: Any) -> None:
        StatusError.__init__(self, status, problem, **more)
        self.field = problem.param or ""
        shown, _, self.allowed = self.message.removeprefix(f"{self.field}=").rpartition(" is not allowed: ")
        self.value: object = shown or None


class ContextTooLong(BadRequestError, ContextOverflowError):
    """The prompt does not fit the model's context."""

    def __init__(self, status: int, problem: Problem, **more: Any) -> None:
        super().__init__(status, problem, **more)
        # The engine's own sentence: "prompt='2050 tokens' is not allowed: at most 2047 prompt tokens fit ...=2048".
        tokens, limit = re.search(r"(\d+) tokens", self.message), re.search(r"max_model_len=(\d+)", self.message)
        self.num_tokens, self.max_model_len = int(tokens[1]) if tokens else 0, int(limit[1]) if limit else 0


class ConversationRefused(BadRequestError, ChatTemplateError):
    """The chat template refused the conversation, or there is none."""


class UnsupportedByModel(BadRequestError, UnsupportedModelError):
    """The model cannot do that: an encoder cannot write."""


class AuthenticationError(StatusError):
    """401: no key, or a wrong one."""


class PermissionDeniedError(StatusError):
    """403: the key does not open this."""


class NotFoundError(StatusError):
    """404: no such model, route or id."""


class ConflictError(StatusError):
    """409: it clashes with what is there."""


class RateLimitError(StatusError):
    """429: too many requests or tokens; `retry_after` says when to come back."""


class ServerError(StatusError):
    """5xx: the service failed."""


class ServerUnavailable(ServerError):
    """503: loading, asleep, restarting or shutting down."""


_BY_STATUS: Mapping[int, type[StatusError]] = {
    400: BadRequestError, 401: AuthenticationError, 403: PermissionDeniedError, 404: NotFoundError,
    409: ConflictError, 413: BadRequestError, 415: BadRequestError, 422: BadRequestError, 429: RateLimitError,
    503: ServerUnavailable,
}  # fmt: skip
_BY_CODE: Mapping[str | int | None, type[BadRequestError]] = {
    "context_length_exceeded": ContextTooLong,
    "invalid_conversation": ConversationRefused,
    "unsupported_by_model": UnsupportedByModel,
}


class _Body(msgspec.Struct):
    error: Problem


def problem_in(body: bytes | str) -> Problem | None:
    """The error object of a body or of a stream's event, None where there is none."""
    try:
        return msgspec.json.decode(body, type=_Body).error
    except msgspec.DecodeError:
        return None


def status_error(status: int, headers: Mapping[str, str], body: bytes) -> StatusError:
    """The error for an answer that is not a success."""
    problem = problem_in(body) or Problem()
    kind = _BY_STATUS.get(status, ServerError if status >= 500 else StatusError)
    if kind is BadRequestError:
        kind = _BY_CODE.get(problem.code, kind)
    return kind(
        status, problem, request_id=headers.get("x-request-id"), retry_after=_seconds(headers.get("retry-after"))
    )


def _seconds(text: str | None) -> float | None:
    """Of a retry-after header; its other form, a date, is nothing this service sends."""
    return float(text) if text and re.fullmatch(r"\d{1,9}(\.\d+)?", text) else None
