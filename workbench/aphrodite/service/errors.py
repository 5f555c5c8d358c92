"""What goes wrong in a request, as OpenAI's clients expect to hear it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from aphrodite.service.engines.boundary import Problem


class ErrorBody(msgspec.Struct):
    """OpenAI's error object; all four keys are always there."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(msgspec.Struct):
    """The body of every answer that is not a success."""

    error: ErrorBody


_TYPES = {
    401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error",
    500: "server_error", 502: "server_error", 503: "server_error", 504: "server_error", 507: "server_error",
}  # fmt: skip


class ApiError(Exception):
    """An answer that is an error.

    Args:
        status: the HTTP status.
        message: for the caller: names the field, the value and what is allowed; never a path, a secret, a traceback.
        param: the field it is about.
        code: a word a program can act on.
        headers: such as retry-after.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.headers = dict(headers or {})

    @property
    def body(self) -> ErrorAnswer:
        kind = _TYPES.get(self.status, "invalid_request_error")
        return ErrorAnswer(ErrorBody(self.message, kind, self.param, self.code))


def bad_request(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """400: the request itself is wrong."""
    return ApiError(400, message, param=param, code=code)


def unavailable(message: str, code: str, retry_after: int = 2) -> ApiError:
    """503: right request, wrong moment."""
    return ApiError(503, message, code=code, headers={"retry-after": str(retry_after)})


def from_problem(problem: Problem) -> ApiError:
    """An engine's error as an answer."""
    if problem.kind == "context":
        return bad_request(problem.message, problem.field, "context_length_exceeded")
    if problem.kind == "chat_template":
        return bad_request(problem.message, problem.field, "invalid_conversation")
    if problem.kind in ("parameter", "grammar"):
        return bad_request(problem.message, problem.field, "invalid_value")
    if problem.kind == "model":
        return bad_request(problem.message, "model", "unsupported_by_model")
    if problem.kind == "closed":
        return unavailable("the engine stopped while this request ran; send it again", "engine_stopped")
    if problem.kind == "slow_reader":
        return ApiError(408, problem.message, code="slow_reader")
    if problem.kind == "revoked":
        return ApiError(401, problem.message, code="invalid_api_key")
    if problem.kind == "lost":
        return unavailable(problem.message, "engine_lost")
    return ApiError(500, problem.message, code="internal_error")
