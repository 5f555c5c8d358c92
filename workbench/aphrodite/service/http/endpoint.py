"""A route as data: what it takes, what it gives, who may call it; router and OpenAPI document read the same list."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from starlette.types import ASGIApp, Receive, Scope, Send

from aphrodite.service.access import Access, User
from aphrodite.service.engines.engine_process import EngineFailure
from aphrodite.service.errors import ApiError, from_problem, unavailable
from aphrodite.service.http.call import Call, ClientGone
from aphrodite.service.http.error_replies import error_reply_at
from aphrodite.service.http.once import once
from aphrodite.service.service import Service

logger = logging.getLogger("aphrodite.http")

Handler = Callable[[Call], Awaitable[Any]]


@dataclass(frozen=True)
class Endpoint:
    """One route.

    Attributes:
        handle: from the call to an answer, an ASGI application with `headers`.
        request: structure of the JSON body, None where there is none.
        answer: structure of the JSON answer, None where it is something else (`answer_type`).
        events: structure of one event where the answer may be a stream.
        query: structure of the query's parameters, as they are documented.
        form: structure of a multipart/form-data body, as it is documented.
        status: of a success.
        error: structure of its errors, where they are not OpenAI's.
        also: structures of other answers that are no error objects, by status.
        is_work: refused while the service drains, and counted as in flight.
    """

    method: Literal["GET", "POST", "DELETE"]
    path: str
    handle: Handler
    summary: str
    request: Any = None
    answer: Any = None
    events: Any = None
    query: Any = None
    form: Any = None
    status: int = 200
    error: Any = None
    also: Mapping[int, Any] = field(default_factory=dict)
    answer_type: str = "application/json"
    access: Access = Access.USER
    is_work: bool = False
    tag: str = "OpenAI"


def application(endpoint: Endpoint, service: Service) -> ASGIApp:
    """The endpoint as an ASGI application: errors become answers, extra headers are added, work is counted."""

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        call = Call(service, scope, receive, scope["user"], scope["request_id"])
        service.in_flight += endpoint.is_work
        try:
            reply = await _answer(endpoint, call)
            if reply is not None:
                reply.headers.update(call.answer_headers)
                await reply(scope, receive, send)
        finally:
            service.in_flight -= endpoint.is_work
            if call.is_inside:
                service.door.leave(call.user)

    return run


async def _answer(endpoint: Endpoint, call: Call) -> Any:
    try:
        check_access(endpoint.access, call.user)
        if endpoint.is_work and call.service.draining:
            raise unavailable("the service is shutting down", "draining", 5)
        if endpoint.is_work:
            call.service.door.enter(call.user)
            call.is_inside = True
        # Answers of admin routes may hold a key, which must not lie in memory to be given out again.
        repeatable = endpoint.request is not None and endpoint.access is not Access.ADMIN
        return await (once(call, endpoint.handle) if repeatable else endpoint.handle(call))
    except ClientGone:
        return None
    except ApiError as error:
        return error_reply_at(endpoint.path, error)
    except EngineFailure as error:
        return error_reply_at(endpoint.path, from_problem(error.problem))
    except Exception:  # a route's outermost frame: our own mistake, told without its details
        logger.exception("%s %s failed (request %s)", endpoint.method, endpoint.path, call.request_id)
        error = ApiError(500, "the server failed; its log says more", code="internal_error")
        return error_reply_at(endpoint.path, error)


def check_access(access: Access, user: User) -> None:
    """Raises ApiError 403 where the caller may not use the route."""
    if access is Access.ADMIN and not user.is_admin:
        raise ApiError(403, "this route needs an admin key", code="admin_only")
