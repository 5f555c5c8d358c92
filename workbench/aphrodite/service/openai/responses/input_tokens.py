"""`POST /v1/responses/input_tokens`: how long the prompt of a request would be."""

from __future__ import annotations

import msgspec

from aphrodite.service.http.call import Call
from aphrodite.service.http.endpoint import Endpoint
from aphrodite.service.http.replies import Reply, json_reply
from aphrodite.service.openai.responses.history import earlier_items
from aphrodite.service.openai.responses.items import checked_items
from aphrodite.service.openai.responses.request import turn_of
from aphrodite.service.openai.responses.shapes import InputFields
from aphrodite.service.turn.conversation import prompt_of


class InputTokens(msgspec.Struct):
    """Tokens of the prompt: everything the request goes on from, its tools and its input."""

    input_tokens: int
    object: str = "response.input_tokens"


async def count(call: Call) -> Reply:
    request = await call.json(InputFields)
    earlier = await earlier_items(call, request)
    turn = turn_of(request, [*earlier.items, *checked_items(request.input)], {})
    prompt = await prompt_of(call, turn)
    return json_reply(InputTokens(len(prompt.token_ids)))


ENDPOINTS = (
    Endpoint("POST", "/v1/responses/input_tokens", count, "How long the prompt would be.", request=InputFields,
             answer=InputTokens, is_work=True, tag="Responses"),
)  # fmt: skip
