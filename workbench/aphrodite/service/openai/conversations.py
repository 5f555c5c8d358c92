"""`/v1/conversations`: what was said, kept until it is deleted."""

from __future__ import annotations

from typing import Any

import msgspec

from aphrodite.service.errors import bad_request
from aphrodite.service.http.call import Call
from aphrodite.service.http.endpoint import Endpoint
from aphrodite.service.http.replies import Reply, json_reply
from aphrodite.service.openai.metadata import checked_metadata
from aphrodite.service.openai.pages import Deleted, Page, PageQuery, not_found, page_reply, page_request
from aphrodite.service.openai.responses.items import checked_items
from aphrodite.service.storage.conversations import StoredConversation

_MAX_ITEMS = 20


class ConversationRequest(msgspec.Struct):
    """At most 20 first items."""

    items: list[dict[str, Any]] | None = None
    metadata: dict[str, str] | None = None


class ConversationUpdate(msgspec.Struct):
    """New labels, in place of all the old ones."""

    metadata: dict[str, str] | None


class ItemsRequest(msgspec.Struct):
    """At most 20 items to add."""

    items: list[dict[str, Any]]


class Conversation(msgspec.Struct):
    id: str
    created_at: int
    metadata: dict[str, str]
    object: str = "conversation"


async def create(call: Call) -> Reply:
    request = await call.json(ConversationRequest)
    metadata, items = checked_metadata(request.metadata), _items(request.items or [])
    return _reply(await call.service.storage.conversations.create(call.user.tenant, metadata, items))


async def get(call: Call) -> Reply:
    return _reply(await _found(call))


async def update(call: Call) -> Reply:
    conversation_id = call.path("conversation_id")
    metadata = checked_metadata((await call.json(ConversationUpdate)).metadata)
    found = await call.service.storage.conversations.update(call.user.tenant, conversation_id, metadata)
    if found is None:
        raise not_found("conversation", conversation_id)
    return _reply(found)


async def delete(call: Call) -> Reply:
    conversation_id = call.path("conversation_id")
    if not await call.service.storage.conversations.delete(call.user.tenant, conversation_id):
        raise not_found("conversation", conversation_id)
    return json_reply(Deleted(conversation_id, "conversation.deleted"))


async def add_items(call: Call) -> Reply:
    conversation_id = call.path("conversation_id")
    items = _items((await call.json(ItemsRequest)).items)
    if not await call.service.storage.conversations.add_items(call.user.tenant, conversation_id, items):
        raise not_found("conversation", conversation_id)
    return page_reply(items, [item["id"] for item in items], has_more=False)


async def list_items(call: Call) -> Reply:
    conversation, page = await _found(call), page_request(call)
    found = await call.service.storage.conversations.page(call.user.tenant, conversation.id, page)
    if found is None:
        raise not_found("item", page.after or "", "after")
    return page_reply(found.rows, [item["id"] for item in found.rows], found.has_more)


async def get_item(call: Call) -> Reply:
    conversation, item_id = await _found(call), call.path("item_id")
    item = await call.service.storage.conversations.item(call.user.tenant, conversation.id, item_id)
    if item is None:
        raise not_found("item", item_id)
    return json_reply(item)


async def delete_item(call: Call) -> Reply:
    conversation, item_id = await _found(call), call.path("item_id")
    if not await call.service.storage.conversations.delete_item(call.user.tenant, conversation.id, item_id):
        raise not_found("item", item_id)
    return _reply(conversation)


def _items(given: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if len(given) > _MAX_ITEMS:
        raise bad_request(f"items has {len(given)} entries; at most {_MAX_ITEMS} are allowed", "items")
    return checked_items(given, "items")


async def _found(call: Call) -> StoredConversation:
    conversation_id = call.path("conversation_id")
    found = await call.service.storage.conversations.get(call.user.tenant, conversation_id)
    if found is None:
        raise not_found("conversation", conversation_id)
    return found


def _reply(stored: StoredConversation) -> Reply:
    return json_reply(Conversation(stored.id, stored.created, stored.metadata))


_PATH = "/v1/conversations/{conversation_id}"


def _endpoint(
    method: Any, path: str, handle: Any, summary: str, request: Any, answer: Any, query: Any = None
) -> Endpoint:
    return Endpoint(method, path, handle, summary, request, answer, query=query, tag="Conversations")


ENDPOINTS = (
    _endpoint("POST", "/v1/conversations", create, "Begin a conversation.", ConversationRequest, Conversation),
    _endpoint("GET", _PATH, get, "A conversation.", None, Conversation),
    _endpoint("POST", _PATH, update, "Change its labels.", ConversationUpdate, Conversation),
    _endpoint("DELETE", _PATH, delete, "Forget it with everything said in it.", None, Deleted),
    _endpoint("POST", _PATH + "/items", add_items, "Add items.", ItemsRequest, Page[dict[str, Any]]),
    _endpoint("GET", _PATH + "/items", list_items, "Its items.", None, Page[dict[str, Any]], PageQuery),
    _endpoint("GET", _PATH + "/items/{item_id}", get_item, "One item.", None, dict[str, Any]),
    _endpoint("DELETE", _PATH + "/items/{item_id}", delete_item, "Forget one item.", None, Conversation),
)
