"""The ASGI application: the routes, and what happens to every request around them."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Iterable, Sequence

from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from aphrodite.service.access import Access
from aphrodite.service.access import routes as access
from aphrodite.service.access.exposure import rules
from aphrodite.service.access.gate import Gate
from aphrodite.service.anthropic import messages
from aphrodite.service.errors import ApiError
from aphrodite.service.http.endpoint import Endpoint, application
from aphrodite.service.http.error_replies import error_reply_at
from aphrodite.service.http.middleware import Bookkeeping
from aphrodite.service.openai import chat, conversations, embeddings, models
from aphrodite.service.openai.batches import route as batches
from aphrodite.service.openai.completions import route as completions
from aphrodite.service.openai.files import route as files
from aphrodite.service.openai.responses import input_tokens as responses_input_tokens
from aphrodite.service.openai.responses import route as responses
from aphrodite.service.pages import playground
from aphrodite.service.routes import admin, generate, health, openapi, rerank, score, tokenization
from aphrodite.service.service import Service
from aphrodite.service.telemetry import logs, scrape
from aphrodite.service.telemetry.request_log import RequestLog

_ENDPOINTS: tuple[Endpoint, ...] = (
    *chat.ENDPOINTS,
    *completions.ENDPOINTS,
    *embeddings.ENDPOINTS,
    *rerank.ENDPOINTS,
    *score.ENDPOINTS,
    *tokenization.ENDPOINTS,
    *messages.ENDPOINTS,
    *models.ENDPOINTS,
    *responses_input_tokens.ENDPOINTS,  # before the route that takes any id in its place
    *responses.ENDPOINTS,
    *conversations.ENDPOINTS,
    *files.ENDPOINTS,
    *batches.ENDPOINTS,
    *generate.ENDPOINTS,
    *health.ENDPOINTS,
    *scrape.ENDPOINTS,
    *admin.ENDPOINTS,
    *access.ENDPOINTS,
)
ENDPOINTS: tuple[Endpoint, ...] = (*_ENDPOINTS, openapi.endpoint(_ENDPOINTS))


def build(service: Service, endpoints: Sequence[Endpoint] = ENDPOINTS) -> ASGIApp:
    """Everything from the socket's edge inwards."""
    routes = [_Paths(path, same, service) for path, same in _by_path((*endpoints, *playground.ENDPOINTS)).items()]
    open_paths = {endpoint.path for endpoint in endpoints if endpoint.access is Access.OPEN}
    router = Router([Route(r.path, r) for r in routes], redirect_slashes=False, default=_not_found)
    return Bookkeeping(
        Gate(_Exact(routes, router), service.accounts, rules(service.settings, open_paths)),
        service.metrics,
        RequestLog(logs.current()),
        [route.path for route in routes],
    )


class _Exact:
    """Paths without parameters, found at once: trying sixty patterns in turn costs more than all else on the way."""

    def __init__(self, routes: Iterable[_Paths], others: ASGIApp) -> None:
        self._by_path = {route.path: route for route in routes if "{" not in route.path}
        self._others = others

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        route = self._by_path.get(scope["path"])
        if route is None or scope["root_path"]:
            return self._others(scope, receive, send)
        scope["endpoint"], scope["path_params"] = route, {}
        return route(scope, receive, send)


class _Paths:
    """The methods of one path."""

    def __init__(self, path: str, endpoints: Iterable[Endpoint], service: Service) -> None:
        self.path = path
        self._by_method = {endpoint.method: application(endpoint, service) for endpoint in endpoints}
        if "GET" in self._by_method:
            self._by_method["HEAD"] = self._by_method["GET"]  # type: ignore[index]

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        app = self._by_method.get(scope["method"])
        if app is None:
            allowed = ", ".join(self._by_method)
            error = ApiError(
                405, f"{scope['method'][:20]} is not allowed here: {allowed}", code="method_not_allowed",
                headers={"allow": allowed},
            )  # fmt: skip
            app = error_reply_at(self.path, error)
        return app(scope, receive, send)


def _by_path(endpoints: Iterable[Endpoint]) -> dict[str, list[Endpoint]]:
    paths: dict[str, list[Endpoint]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, []).append(endpoint)
    return paths


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    shown = re.sub(r"[^!-~]", "?", scope["path"])[:120]
    error = ApiError(404, f"there is no route {scope['method'][:20]} {shown}", code="route_not_found")
    await error_reply_at(scope["path"], error)(scope, receive, send)
