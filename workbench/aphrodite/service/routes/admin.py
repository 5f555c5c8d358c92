"""`/admin/...`: models come, go, sleep and wake."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import msgspec

from aphrodite.service.access import Access
from aphrodite.service.access.limits import Usage
from aphrodite.service.engines.boundary import Stats
from aphrodite.service.engines.engine_process import EngineProcess
from aphrodite.service.http.call import Call
from aphrodite.service.http.endpoint import Endpoint
from aphrodite.service.http.replies import Reply, json_reply
from aphrodite.service.memory import resident_bytes
from aphrodite.service.settings import ModelSettings


class ModelStatus(msgspec.Struct):
    """One model, as `aphrodite status` shows it.

    Attributes:
        model: what was asked to be loaded: "demo", a folder, an id.
        engine: the engine settings that were given.
        problem: why it is not running, where that was not asked for.
        progress: bytes of weights read, of how many.
    """

    id: str
    names: list[str]
    model: str
    engine: dict[str, Any]
    state: str
    restarts: int
    pid: int | None
    stats: Stats
    progress: tuple[int, int]
    plan: dict[str, Any] | None
    plan_text: str | None
    max_model_len: int | None
    fingerprint: str | None
    problem: str | None


class KeyUse(msgspec.Struct):
    """What one caller does; "local" is everybody at this machine who needs no key.

    Attributes:
        usage: since the service started.
    """

    name: str
    in_flight: int
    usage: Usage


class Status(msgspec.Struct):
    """The whole service.

    Attributes:
        starting: the models named at the start are not all loaded yet.
        draining: it was told to end, and finishes what it is answering.
        in_flight: requests being answered.
        tasks: asyncio tasks, for those who look for leaks.
        resident_bytes: memory of the service's own process.
    """

    version: str
    pid: int
    started: float
    starting: bool
    draining: bool
    in_flight: int
    tasks: int
    resident_bytes: int
    models: list[ModelStatus]
    keys: list[KeyUse]


class Named(msgspec.Struct):
    """A request that names a model."""

    model: str


class Load(msgspec.Struct):
    """A model to load beside the others.

    Attributes:
        names: served names; the first is its id.
        engine: settings such as dtype, max_model_len, kv_cache_memory.
    """

    model: str
    names: list[str] = []
    engine: dict[str, Any] = {}


async def status(call: Call) -> Reply:
    from aphrodite import __version__

    service = call.service
    found = Status(
        version=__version__,
        pid=os.getpid(),
        started=service.started,
        starting=service.starting,
        draining=service.draining,
        in_flight=service.in_flight,
        tasks=len(asyncio.all_tasks()),
        resident_bytes=resident_bytes(),
        models=[model_status(engine) for engine in service.models],
        keys=[KeyUse(user.name, user.meter.in_flight, user.meter.usage) for user in service.accounts.users()],
    )
    return json_reply(found)


async def load(call: Call) -> Reply:
    wanted = await call.json(Load)
    settings = ModelSettings(wanted.model, tuple(dict.fromkeys(wanted.names)), wanted.engine)
    engine = await call.until_gone(call.service.models.load(settings))  # who stops waiting does not want it either
    return json_reply(model_status(engine))


async def unload(call: Call) -> Reply:
    named = await call.json(Named)
    await call.service.models.unload(named.model)
    return json_reply(named)


async def sleep(call: Call) -> Reply:
    named = await call.json(Named)
    await call.service.models.sleep(named.model)
    return json_reply(model_status(call.service.models.find(named.model)))


async def wake(call: Call) -> Reply:
    named = await call.json(Named)
    await call.until_gone(call.service.models.wake(named.model))
    return json_reply(model_status(call.service.models.find(named.model)))


def model_status(engine: EngineProcess) -> ModelStatus:
    """As it is now."""
    facts = engine.facts
    return ModelStatus(
        id=engine.settings.id,
        names=list(engine.settings.all_names),
        model=engine.settings.model,
        engine=engine.settings.engine,
        state=engine.state.value,
        restarts=engine.restarts,
        pid=engine.pid,
        stats=engine.stats,
        progress=engine.progress,
        plan=facts.plan if facts else None,
        plan_text=facts.plan_text if facts else None,
        max_model_len=facts.max_model_len if facts else None,
        fingerprint=facts.fingerprint if facts else None,
        problem=engine.problem.message if engine.problem else None,
    )


def _admin(method: Any, path: str, handle: Any, summary: str, request: Any, answer: Any) -> Endpoint:
    return Endpoint(method, path, handle, summary, request, answer, access=Access.ADMIN, tag="Admin")


ENDPOINTS = (
    _admin("GET", "/admin/status", status, "The service and its models.", None, Status),
    _admin("POST", "/admin/load", load, "Load one more model.", Load, ModelStatus),
    _admin("POST", "/admin/unload", unload, "Stop serving a model; its memory is free.", Named, Named),
    _admin("POST", "/admin/sleep", sleep, "Give a model's memory back, keep its name.", Named, ModelStatus),
    _admin("POST", "/admin/wake", wake, "Load a sleeping model again.", Named, ModelStatus),
)
