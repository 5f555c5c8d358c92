"""`POST /v1/rerank`, in the shape of Cohere and Jina: documents by the cosine of their vectors to the query's."""

from __future__ import annotations

import secrets
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from aphrodite.service.engines.model_choice import chosen_model
from aphrodite.service.http.call import Call
from aphrodite.service.http.endpoint import Endpoint
from aphrodite.service.http.replies import Reply, json_reply
from aphrodite.service.openai.prompts import refuse_unsupported
from aphrodite.service.openai.vectors import Pooling, VectorUsage, filled, vectors_of

MAX_DOCUMENTS = 2048


class Document(msgspec.Struct):
    text: str


class RerankRequest(msgspec.Struct, kw_only=True):
    """Which documents answer the query best?

    Attributes:
        model: may be left out where one model is served.
        top_n: give so many of the best; more than there are, or 0, is all.
        return_documents: give their texts back.
        truncate_prompt_tokens: refused, like the two after it: a document that is too long is an error.
    """

    model: str | None = None
    query: str
    documents: Annotated[list[str | Document], Meta(min_length=1, max_length=MAX_DOCUMENTS)]
    top_n: Annotated[int, Meta(ge=0)] | None = None
    return_documents: bool = True
    pooling: Pooling | None = None
    truncate_prompt_tokens: int | None = None
    max_tokens_per_doc: int | None = None
    rank_fields: Any = None


class Ranked(msgspec.Struct, omit_defaults=True):
    """A document: `index` is its place in the request, `relevance_score` a cosine from -1 to 1."""

    index: int
    relevance_score: float
    document: Document | None = None


class Ranking(msgspec.Struct):
    """The best first."""

    id: str
    model: str
    results: list[Ranked]
    usage: VectorUsage


async def create(call: Call) -> Reply:
    request = await call.json(RerankRequest)
    refuse_unsupported(request, "truncate_prompt_tokens", "max_tokens_per_doc", "rank_fields")
    model = chosen_model(call.service.models, request.model)
    texts = filled("documents", [item if isinstance(item, str) else item.text for item in request.documents])
    inputs = [*filled("query", [request.query]), *texts]
    vectors = await vectors_of(call, model, inputs, field="documents", pooling=request.pooling)
    scores = vectors.rows[1:] @ vectors.rows[0]
    best = np.argsort(-scores, kind="stable")[: request.top_n or None].tolist()
    results = [Ranked(i, float(scores[i]), Document(texts[i]) if request.return_documents else None) for i in best]
    return json_reply(Ranking("rerank-" + secrets.token_hex(12), model, results, vectors.usage))


def _endpoint(path: str) -> Endpoint:
    return Endpoint(
        "POST", path, create, "Documents in the order of their likeness to a query.",
        request=RerankRequest, answer=Ranking, is_work=True, tag="Embeddings",
    )  # fmt: skip


ENDPOINTS = tuple(_endpoint(path) for path in ("/v1/rerank", "/v2/rerank", "/rerank"))
