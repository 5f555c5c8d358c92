"""What was said before a request: the responses it goes on from, or its conversation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aphrodite.service.errors import bad_request
from aphrodite.service.http.call import Call
from aphrodite.service.openai.pages import not_found
from aphrodite.service.openai.responses.items import Item
from aphrodite.service.openai.responses.shapes import InputFields
from aphrodite.service.storage.responses import MissingLink

_USABLE = ("completed", "incomplete")


@dataclass(frozen=True)
class Earlier:
    """Items, oldest first, and the conversation they are from."""

    items: list[Item]
    conversation: str | None = None


async def earlier_items(call: Call, request: InputFields) -> Earlier:
    """Everything the request goes on from.

    Raises:
        ApiError: 404 where it does not exist, 400 where it cannot be gone on from.
    """
    if request.conversation is not None and request.previous_response_id is not None:
        raise bad_request("give previous_response_id or conversation, not both", "conversation", "invalid_value")
    if request.conversation is not None:
        conversation = _conversation_id(request.conversation)
        items = await call.service.storage.conversations.items(call.user.tenant, conversation)
        if items is None:
            raise not_found("conversation", conversation, "conversation")
        return Earlier(items, conversation)
    if request.previous_response_id is not None:
        return Earlier(await _chain(call, request.previous_response_id))
    return Earlier([])


async def _chain(call: Call, response_id: str) -> list[Item]:
    stored = await call.service.storage.responses.get(call.user.tenant, response_id)
    if stored is None:
        raise not_found("response", response_id, "previous_response_id")
    if stored.status not in _USABLE:
        raise bad_request(
            f"previous_response_id names a response that is {stored.status}; it must be completed or incomplete",
            "previous_response_id", "invalid_value",
        )  # fmt: skip
    try:
        return await call.service.storage.responses.items_until(call.user.tenant, response_id)
    except MissingLink as missing:
        raise not_found("response", missing.response_id, "previous_response_id") from None


def _conversation_id(given: str | dict[str, Any]) -> str:
    found = given if isinstance(given, str) else given.get("id")
    if not isinstance(found, str):
        raise bad_request("conversation.id is missing", "conversation.id", "missing_required_parameter")
    return found
