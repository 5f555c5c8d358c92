"""The workbench's own calls: which models are there; load, unload, put to sleep, wake. They need an admin key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aphrodite.client.calls import Calls

Json = dict[str, Any]


class WorkbenchCalls(Calls):
    """What `aphrodite status`, `load`, `unload`, `sleep` and `wake` do."""

    async def version(self) -> str:
        """Of the service."""
        return (await self._transport.get("/version", Json))["version"]

    async def status(self) -> Json:
        """The service and its models: state, memory plan, requests, tokens."""
        return await self._transport.get("/admin/status", Json)

    async def load(self, model: str, *, names: Sequence[str] = (), **engine: Any) -> Json:
        """Load one more model.

        Args:
            names: what it is served as; the first is its id.
            **engine: settings such as dtype, max_model_len, kv_cache_memory.
        """
        return await self._transport.post("/admin/load", {"model": model, "names": list(names), "engine": engine}, Json)

    async def unload(self, model: str) -> Json:
        """Stop serving a model; its memory is free."""
        return await self._transport.post("/admin/unload", {"model": model}, Json)

    async def sleep(self, model: str) -> Json:
        """Give a model's memory back, keep its name."""
        return await self._transport.post("/admin/sleep", {"model": model}, Json)

    async def wake(self, model: str) -> Json:
        """Load a sleeping model again."""
        return await self._transport.post("/admin/wake", {"model": model}, Json)
