"""A client that is asked for what only a model in this process can do says where it can be done."""

from __future__ import annotations

import asyncio

import pytest

from aphrodite.client.async_client import AsyncClient
from aphrodite.client.client import Client
from aphrodite.client.in_process import InProcessOnly


@pytest.mark.parametrize("name", ["capture", "lens", "steer"])
def test_hooks_do_not_cross_http(name: str) -> None:
    with (
        Client("http://127.0.0.1:9") as client,
        pytest.raises(InProcessOnly, match=f"^{name} works on a model in this"),
    ):
        getattr(client, name)("Hello", layers=[0])

    async def ask() -> None:
        async with AsyncClient("http://127.0.0.1:9") as remote:
            getattr(remote, name)(0, [1.0])

    with pytest.raises(InProcessOnly, match=rf"session\.{name}\(\.\.\.\)"):
        asyncio.run(ask())
