"""`POST /v1/embeddings`: texts in, vectors out."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta

from aphrodite.service.http.call import Call
from aphrodite.service.http.endpoint import Endpoint
from aphrodite.service.http.replies import Reply, json_reply
from aphrodite.service.openai.prompts import Prompts, listed, refused
from aphrodite.service.openai.vectors import Pooling, Vectors, VectorUsage, filled, vectors_of

MAX_INPUTS = 2048


class EmbeddingRequest(msgspec.Struct, kw_only=True):
    """OpenAI's fields, and two of the engine's.

    Attributes:
        input: a text, texts, token ids, or lists of ids: 1 to 2,048 of them.
        encoding_format: "base64" is little-endian float32.
        dimensions: keep so many of the first numbers and scale what is left to length 1 again. Models trained for it
            (Matryoshka) keep their quality; others lose some.
        pooling: how hidden states become a vector; null is what the model was made for.
        normalize: scale to length 1, so that dot products are cosines.
    """

    model: str
    input: Prompts
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1)] | None = None
    user: str | None = None
    pooling: Pooling | None = None
    normalize: bool = True


class Embedding(msgspec.Struct):
    index: int
    embedding: list[float] | str
    object: str = "embedding"


class EmbeddingList(msgspec.Struct):
    """One vector an input, in their order."""

    data: list[Embedding]
    model: str
    usage: VectorUsage
    object: str = "list"


async def create(call: Call) -> Reply:
    request = await call.json(EmbeddingRequest)
    inputs = filled("input", listed("input", request.input, MAX_INPUTS))
    _, facts = call.service.models.ready(request.model)
    if request.dimensions is not None and request.dimensions > facts.embedding_size:
        limit = f"1 to {facts.embedding_size:,} for {request.model}"
        raise refused("dimensions", f"{request.dimensions}; {limit}")
    vectors = await vectors_of(
        call, request.model, inputs, field="input", pooling=request.pooling, normalize=request.normalize
    )
    return json_reply(_answer(request, vectors))


def _answer(request: EmbeddingRequest, vectors: Vectors) -> EmbeddingList:
    rows = vectors.rows
    if request.dimensions is not None and request.dimensions < rows.shape[1]:
        rows = _shortened(rows, request)
    write = _as_base64 if request.encoding_format == "base64" else np.ndarray.tolist
    return EmbeddingList([Embedding(index, write(row)) for index, row in enumerate(rows)], request.model, vectors.usage)


def _shortened(rows: np.ndarray, request: EmbeddingRequest) -> np.ndarray:
    kept = rows[:, : request.dimensions]
    if not request.normalize:
        return kept
    lengths = np.linalg.norm(kept, axis=1, keepdims=True)
    return kept / np.maximum(lengths, np.finfo(np.float32).tiny)


def _as_base64(row: Any) -> str:
    return base64.b64encode(np.ascontiguousarray(row, "<f4").tobytes()).decode()


ENDPOINTS = (
    Endpoint(
        "POST",
        "/v1/embeddings",
        create,
        "Vectors of texts.",
        request=EmbeddingRequest,
        answer=EmbeddingList,
        is_work=True,
    ),
)
