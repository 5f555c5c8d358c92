"""`/admin/keys`, `/admin/lease`: who may come in, and who has the engine alone."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from aphrodite.service.access.keys import MAX_PRIORITY, Key, KeyStoreError, NoSuchKeyError
from aphrodite.service.access.lease import LeaseReport
from aphrodite.service.access.limits import Limits, Usage
from aphrodite.service.access.user import KEY_PRIORITY, Access, User
from aphrodite.service.errors import ApiError, bad_request
from aphrodite.service.http.call import Call
from aphrodite.service.http.endpoint import Endpoint
from aphrodite.service.http.replies import Reply, json_reply

MAX_LEASE_SECONDS = 24 * 3600
_MAX_REASON = 200


class KeyFacts(msgspec.Struct):
    """A key, without the key.

    Attributes:
        created, revoked, last_used: Unix time.
        usage: up to two seconds ago.
    """

    name: str
    created: float
    revoked: float | None
    last_used: float | None
    is_admin: bool
    priority: int
    limits: Limits
    usage: Usage


class KeyList(msgspec.Struct):
    data: list[KeyFacts]
    object: str = "list"


class NewKey(msgspec.Struct, kw_only=True):
    """A key to make.

    Attributes:
        priority: lower runs first; the owner's requests have 0.
        is_admin: opens the admin routes too.
    """

    name: str
    limits: Limits = Limits()
    priority: Annotated[int, Meta(ge=-MAX_PRIORITY, le=MAX_PRIORITY)] = KEY_PRIORITY
    is_admin: bool = False


class MadeKey(msgspec.Struct):
    """`key` is shown here and never again."""

    name: str
    key: str


class RevokedKey(msgspec.Struct):
    name: str
    revoked: bool = True


class LeaseRequest(msgspec.Struct, kw_only=True):
    """The engine for one caller alone.

    Attributes:
        key: name of the key that gets it; the caller's own where it is left out.
        reason: others are told.
    """

    seconds: Annotated[float, Meta(gt=0, le=MAX_LEASE_SECONDS)]
    reason: Annotated[str, Meta(min_length=1, max_length=_MAX_REASON)]
    key: str | None = None


async def list_keys(call: Call) -> Reply:
    return json_reply(KeyList([_facts(key) for key in call.service.accounts.store.all()]))


async def add_key(call: Call) -> Reply:
    new = await call.json(NewKey)
    try:
        key = call.service.accounts.store.add(new.name, new.limits, priority=new.priority, is_admin=new.is_admin)
    except KeyStoreError as error:
        raise bad_request(str(error), "name", "invalid_value") from error
    call.answer_headers["cache-control"] = "no-store"
    return json_reply(MadeKey(new.name, key), 201)


async def revoke_key(call: Call) -> Reply:
    name = call.path("name")
    try:
        call.service.accounts.store.revoke(name)
    except NoSuchKeyError as error:
        raise ApiError(404, str(error), param="name", code="key_not_found") from error
    call.service.accounts.refresh()
    return json_reply(RevokedKey(name))


async def take_lease(call: Call) -> Reply:
    wanted = await call.json(LeaseRequest)
    holder = _holder(call, wanted.key) if wanted.key is not None else call.user
    return json_reply(call.service.door.lease(holder, wanted.seconds, wanted.reason), 201)


async def show_lease(call: Call) -> Reply:
    return json_reply(_found(call.service.door.lease_report()))


async def end_lease(call: Call) -> Reply:
    return json_reply(_found(call.service.door.end_lease()))


def _found(report: LeaseReport | None) -> LeaseReport:
    if report is None:
        raise ApiError(404, "nobody has taken a lease", code="lease_not_found")
    return report


def _holder(call: Call, name: str) -> User:
    user = call.service.accounts.named(name)
    if user is not None:
        return user
    raise ApiError(404, f"there is no key for {name[:80]!r}", param="key", code="key_not_found")


def _facts(key: Key) -> KeyFacts:
    return KeyFacts(
        key.name, key.created, key.revoked, key.last_used, key.is_admin, key.priority, key.limits, key.usage
    )


def _admin(method: Any, path: str, handle: Any, summary: str, request: Any, answer: Any, status: int = 200) -> Endpoint:
    return Endpoint(method, path, handle, summary, request, answer, status=status, access=Access.ADMIN, tag="Admin")


ENDPOINTS = (
    _admin("GET", "/admin/keys", list_keys, "Names, limits and usage of keys.", None, KeyList),
    _admin(
        "POST", "/admin/keys", add_key, "Make a key; the answer is the only place it is shown.", NewKey, MadeKey, 201
    ),
    _admin("DELETE", "/admin/keys/{name}", revoke_key, "Take a key back, at once.", None, RevokedKey),
    _admin("GET", "/admin/lease", show_lease, "The lease that runs, or the last one.", None, LeaseReport),
    _admin("POST", "/admin/lease", take_lease, "Give one caller the engine alone.", LeaseRequest, LeaseReport, 201),
    _admin("DELETE", "/admin/lease", end_lease, "Let everybody in again; says who else computed.", None, LeaseReport),
)
