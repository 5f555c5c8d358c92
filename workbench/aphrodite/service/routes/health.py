"""`/health`, `/version`: is it there, and what is it?"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from aphrodite import __version__
from aphrodite.service.access import Access
from aphrodite.service.engines.engine_process import State
from aphrodite.service.http.call import Call
from aphrodite.service.http.endpoint import Endpoint
from aphrodite.service.http.replies import Reply, json_reply
from aphrodite.service.service import Service


class Health(msgspec.Struct):
    """`status`: ok (200), starting, draining, or unavailable: a model that was loaded cannot take work (503)."""

    status: str
    models: dict[str, str]


class Version(msgspec.Struct):
    """Of the service."""

    version: str


async def health(call: Call) -> Reply:
    states = {engine.settings.id: engine.state for engine in call.service.models}
    status = _status(call.service, states.values())
    reply = json_reply(
        Health(status, {name: state.value for name, state in states.items()}), 200 if status == "ok" else 503
    )
    if status != "ok":
        reply.headers["retry-after"] = "2"
    return reply


def _status(service: Service, states: Iterable[State]) -> str:
    """One more model that is being loaded, or wakes, does not make the others ill."""
    if service.draining:
        return "draining"
    if service.starting:
        return "starting"
    return "unavailable" if any(state in (State.SILENT, State.RESTARTING) for state in states) else "ok"


async def version(call: Call) -> Reply:
    return json_reply(Version(__version__))


ENDPOINTS = (
    Endpoint("GET", "/health", health, "200 when it can take work, 503 otherwise.", answer=Health,
             also={503: Health}, access=Access.OPEN, tag="Service"),
    Endpoint("GET", "/version", version, "Version of the service.", answer=Version, tag="Service"),
)  # fmt: skip
