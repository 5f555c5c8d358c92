"""Vectors of texts, for the routes that give them or compare them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import msgspec
import numpy as np

from aphrodite.service.engines import boundary
from aphrodite.service.engines.engine_process import EngineFailure
from aphrodite.service.errors import from_problem
from aphrodite.service.http.call import Call
from aphrodite.service.openai.prompts import Prompt, refused

T = TypeVar("T")
Pooling = Literal["mean", "cls", "last"]


class VectorUsage(msgspec.Struct):
    prompt_tokens: int
    total_tokens: int


@dataclass(frozen=True)
class Vectors:
    """One row an input, float32."""

    rows: np.ndarray
    num_tokens: int

    @property
    def usage(self) -> VectorUsage:
        return VectorUsage(self.num_tokens, self.num_tokens)


def filled(name: str, inputs: list[T]) -> list[T]:
    """The inputs, none of which is an empty string.

    Raises:
        ApiError: 400.
    """
    if "" in inputs:
        raise refused(name, "it holds an empty string; give texts of at least one character")
    return inputs


async def vectors_of(
    call: Call,
    model: str,
    inputs: Sequence[Prompt],
    *,
    field: str,
    pooling: Pooling | None = None,
    normalize: bool = True,
) -> Vectors:
    """The engine's vectors of the inputs.

    Args:
        field: what the inputs are called in the request, for errors.
        pooling: None is what the model was made for.
        normalize: to length 1.

    Raises:
        ApiError: 400 naming what is wrong, 404 unknown model, 503 a model that is not ready.
        ClientGone: the client left before they were there.
    """
    engine, _ = call.service.models.ready(model)
    message = boundary.Embed(0, list(inputs), pooling, normalize)
    try:
        found = await call.until_gone(engine.embed(message, call.user))
    except EngineFailure as error:
        if error.problem.kind == "context" or (error.problem.field or "").startswith("prompt"):
            raise from_problem(msgspec.structs.replace(error.problem, field=field)) from None
        raise
    return Vectors(np.frombuffer(found.data, "<f4").reshape(found.rows, -1), found.prompt_tokens)
