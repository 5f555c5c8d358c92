"""An error as an answer, in the words of the protocol whose route was asked: also where it never came to the route."""

from __future__ import annotations

from aphrodite.service.anthropic import errors as anthropic
from aphrodite.service.errors import ApiError
from aphrodite.service.http.replies import Reply, error_reply, json_reply

_ANTHROPIC = "/v1/messages"


def error_reply_at(path: str, error: ApiError) -> Reply:
    """Of a missing key, a full queue, a wrong method or a failed request alike."""
    reply = error_reply(error)
    if path == _ANTHROPIC or path.startswith(_ANTHROPIC + "/"):
        headers = reply.headers
        reply = json_reply(anthropic.answer_of(error), error.status)
        reply.headers = headers | reply.headers
    return reply
