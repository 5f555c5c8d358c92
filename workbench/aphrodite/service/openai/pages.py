"""Lists in pieces, as OpenAI's clients page through them."""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from aphrodite.service.errors import ApiError, bad_request
from aphrodite.service.http.call import Call
from aphrodite.service.http.replies import Reply, json_reply
from aphrodite.service.storage.pages import PageRequest

T = TypeVar("T")


class Page(msgspec.Struct, Generic[T]):
    """A piece of a list; the next one begins after `last_id`."""

    data: list[T]
    first_id: str | None
    last_id: str | None
    has_more: bool
    object: str = "list"


class PageQuery(msgspec.Struct):
    """How a list is asked for, as it is documented; page_request reads it."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    order: Literal["asc", "desc"] = "desc"
    after: str | UnsetType = UNSET


class Deleted(msgspec.Struct):
    """It is gone."""

    id: str
    object: str
    deleted: bool = True


def page_request(call: Call, *, default: int = 20, largest: int = 100) -> PageRequest:
    """limit, order and after of a request's query.

    Raises:
        ApiError: 400, naming the one that is wrong.
    """
    text, order = call.query.get("limit", str(default)), call.query.get("order", "desc")
    if not (text.isascii() and text.isdigit() and len(text) < 7 and 1 <= int(text) <= largest):
        raise bad_request(f"limit={text[:40]!r} is not allowed: 1 to {largest}", "limit", "invalid_value")
    if order not in ("asc", "desc"):
        raise bad_request(f"order={order[:40]!r} is not allowed: asc or desc", "order", "invalid_value")
    return PageRequest(int(text), order, call.query.get("after"))


def page_reply(entries: list[Any], ids: list[str], has_more: bool) -> Reply:
    """A piece of a list as an answer."""
    return json_reply(Page(entries, ids[0] if ids else None, ids[-1] if ids else None, has_more))


def not_found(what: str, object_id: str, param: str | None = None) -> ApiError:
    """404: it does not exist, or it is somebody else's, which is the same."""
    shown = object_id if object_id.isascii() and object_id.isprintable() else ascii(object_id)
    return ApiError(404, f"no {what} with id {shown[:80]!r}", param=param, code="not_found")
