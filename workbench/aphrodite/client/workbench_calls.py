"""The workbench's own calls: models come, go, sleep and wake; keys are made and taken back. They need an admin key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from aphrodite.client.calls import Calls
from aphrodite.service.access.limits import Limits
from aphrodite.service.access.user import KEY_PRIORITY

Json = dict[str, Any]


class WorkbenchCalls(Calls):
    """What `aphrodite status`, `load`, `unload`, `sleep` and `wake` do, and `aphrodite keys`."""

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

    async def keys(self) -> list[Json]:
        """Names, limits and usage of keys; never the keys."""
        return (await self._transport.get("/admin/keys", Json))["data"]

    async def add_key(
        self, name: str, limits: Limits | None = None, *, priority: int = KEY_PRIORITY, is_admin: bool = False
    ) -> str:
        """Make a key; this is the only time it is seen.

        Args:
            priority: lower runs first; the owner's requests have 0.
            is_admin: opens the admin routes too.
        """
        limited = msgspec.to_builtins(limits or Limits())
        body = {"name": name, "limits": limited, "priority": priority, "is_admin": is_admin}
        return (await self._transport.post("/admin/keys", body, Json))["key"]

    async def revoke_key(self, name: str) -> None:
        """Take a key back, at once."""
        await self._transport.delete(f"/admin/keys/{quote(name, safe='')}", Json)
