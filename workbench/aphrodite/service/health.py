"""`/health`, `/version`: is it there, and what is it?"""

from __future__ import annotations

import msgspec

from aphrodite import __version__
from aphrodite.service.access import Access
from aphrodite.service.call import Call
from aphrodite.service.endpoint import Endpoint
from aphrodite.service.engine_process import State
from aphrodite.service.replies import Reply, json_reply


class Health(msgspec.Struct):
    """`status` is "ok" when every model that is not asleep can take work."""

    status: str
    models: dict[str, str]


class Version(msgspec.Struct):
    """Of the service."""

    version: str


async def health(call: Call) -> Reply:
    states = {engine.settings.id: engine.state for engine in call.service.models}
    well = not call.service.draining and all(s in (State.READY, State.ASLEEP) for s in states.values())
    status = "draining" if call.service.draining else "ok" if well else "unavailable"
    reply = json_reply(Health(status, {name: state.value for name, state in states.items()}), 200 if well else 503)
    if not well:
        reply.headers["retry-after"] = "2"
    return reply


async def version(call: Call) -> Reply:
    return json_reply(Version(__version__))


ENDPOINTS = (
    Endpoint("GET", "/health", health, "200 when it can take work, 503 otherwise.", answer=Health, access=Access.OPEN,
             tag="Service"),
    Endpoint("GET", "/version", version, "Version of the service.", answer=Version, tag="Service"),
)  # fmt: skip
