"""`POST /v1/responses/input_tokens`: how long the prompt of a request would be."""

from __future__ import annotations

from typing import Any

import msgspec

from aphrodite.service import boundary
from aphrodite.service.call import Call
from aphrodite.service.endpoint import Endpoint
from aphrodite.service.openai.messages import template_messages
from aphrodite.service.openai.responses_history import earlier_items
from aphrodite.service.openai.responses_items import checked_items
from aphrodite.service.openai.responses_request import turn_of
from aphrodite.service.openai.responses_shapes import InputFields
from aphrodite.service.openai.tools import offered
from aphrodite.service.replies import Reply, json_reply


class InputTokens(msgspec.Struct):
    """Tokens of the prompt: everything the request goes on from, its tools and its input."""

    input_tokens: int
    object: str = "response.input_tokens"


async def count(call: Call) -> Reply:
    request = await call.json(InputFields)
    earlier = await earlier_items(call, request)
    turn = turn_of(request, [*earlier.items, *checked_items(request.input)], {})
    engine, facts = call.service.models.ready(turn.model)
    template: dict[str, Any] = {"add_generation_prompt": True, **turn.template}
    if tools := offered(turn.tools, turn.tool_choice):
        template["tools"] = [tool.as_template_has_it for tool in tools]
    if turn.reasoning_effort is not None:
        template["reasoning_effort"] = turn.reasoning_effort
    messages = template_messages(turn.messages, facts.template_source)
    asked = boundary.Tokenize(0, messages=messages, template=template)
    found: boundary.TokenIds = await call.until_gone(engine.call(asked))
    return json_reply(InputTokens(len(found.token_ids)))


ENDPOINTS = (
    Endpoint("POST", "/v1/responses/input_tokens", count, "How long the prompt would be.", request=InputFields,
             answer=InputTokens, is_work=True, tag="Responses"),
)  # fmt: skip
