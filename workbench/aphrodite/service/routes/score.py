"""`POST /v1/score`, in vLLM's shape: how alike are texts, by the cosine of their vectors?"""

from __future__ import annotations

import secrets
import time
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from aphrodite.service.engines.model_choice import chosen_model
from aphrodite.service.http.call import Call
from aphrodite.service.http.endpoint import Endpoint
from aphrodite.service.http.replies import Reply, json_reply
from aphrodite.service.openai.prompts import refuse_unsupported, refused
from aphrodite.service.openai.vectors import Pooling, VectorUsage, filled, vectors_of

MAX_TEXTS = 1024
Texts = str | Annotated[list[str], Meta(min_length=1, max_length=MAX_TEXTS)]


class ScoreRequest(msgspec.Struct, kw_only=True):
    """One text with one or with each of many, or two lists of the same length pair by pair.

    Attributes:
        model: may be left out where one model is served.
        truncate_prompt_tokens: refused: a text that is too long is an error.
    """

    model: str | None = None
    text_1: Texts
    text_2: Texts
    pooling: Pooling | None = None
    truncate_prompt_tokens: int | None = None


class Score(msgspec.Struct):
    """A cosine from -1 to 1."""

    index: int
    score: float
    object: str = "score"


class ScoreList(msgspec.Struct, kw_only=True):
    """One score a pair, in their order."""

    id: str
    object: str = "list"
    created: int
    model: str
    data: list[Score]
    usage: VectorUsage


async def create(call: Call) -> Reply:
    request = await call.json(ScoreRequest)
    refuse_unsupported(request, "truncate_prompt_tokens")
    model = chosen_model(call.service.models, request.model)
    first, second = filled("text_1", _listed(request.text_1)), filled("text_2", _listed(request.text_2))
    if len(first) not in (1, len(second)):
        raise refused("text_1", f"{len(first)} texts; 1, or as many as text_2 ({len(second)})")
    vectors = await vectors_of(call, model, [*first, *second], field="text_2", pooling=request.pooling)
    left, right = np.split(vectors.rows, [len(first)])
    scores = [Score(index, float(value)) for index, value in enumerate((left * right).sum(axis=1))]
    answer = ScoreList(
        id="score-" + secrets.token_hex(12), created=int(time.time()), model=model, data=scores, usage=vectors.usage
    )
    return json_reply(answer)


def _listed(texts: str | list[str]) -> list[str]:
    return [texts] if isinstance(texts, str) else texts


def _endpoint(path: str) -> Endpoint:
    return Endpoint(
        "POST", path, create, "How alike texts are.", request=ScoreRequest, answer=ScoreList, is_work=True,
        tag="Embeddings",
    )  # fmt: skip


ENDPOINTS = tuple(_endpoint(path) for path in ("/v1/score", "/score"))
