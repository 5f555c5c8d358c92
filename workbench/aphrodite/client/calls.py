"""What the groups of calls share: the way to the service, and the model they mean."""

from __future__ import annotations

import itertools

import msgspec

from aphrodite.client.transport import Transport
from aphrodite_engine.errors import ParameterError


class ServedModel(msgspec.Struct):
    """A name that the service answers to.

    Attributes:
        root: the id of the model behind it.
        max_model_len: longest sequence in tokens; None before it is loaded.
    """

    id: str
    root: str = ""
    max_model_len: int | None = None


class _ModelList(msgspec.Struct):
    data: list[ServedModel]


class Calls:
    """A group of calls.

    Attributes:
        model: what calls mean that name none; None until it is known or given.
    """

    def __init__(self, transport: Transport, model: str | None) -> None:
        self._transport = transport
        self.model = model
        self._numbers = itertools.count()

    async def models(self) -> list[ServedModel]:
        """The served names."""
        return (await self._transport.get("/v1/models", _ModelList)).data

    async def _named(self, model: str | None) -> str:
        """The model by name: OpenAI's routes want one.

        Raises:
            ParameterError: none was given and there is a choice, or nothing to choose from.
        """
        if model or self.model:
            return model or self.model or ""
        served = await self.models()
        roots = {found.root or found.id for found in served}
        if len(roots) != 1:
            names = ", ".join(found.id for found in served) or "none is loaded"
            raise ParameterError("model", model, f"one of the served models: {names}")
        self.model = served[0].id
        return self.model
