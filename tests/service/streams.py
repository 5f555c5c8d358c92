"""Streams of chat completions as a client sees them, down to how they end."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx2

STORY = [{"role": "user", "content": "Tell me a story about a fox named Pip."}]

Ending = Literal["done", "error", "cut", "refused"]


@dataclass
class Stream:
    """One stream.

    Attributes:
        ending: [DONE] came; an error event came; the connection ended without either; it never began.
        ended: when, on the monotonic clock.
    """

    ending: Ending = "cut"
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    error: dict[str, Any] | None = None
    ended: float = 0.0
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self, client: httpx2.AsyncClient, **fields: Any) -> Stream:
        """Ask and read to the end."""
        body = {"model": "demo", "messages": STORY, "stream": True, **fields}
        try:
            async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
                self.status, self.headers = answer.status_code, answer.headers
                if self.status != 200:
                    await answer.aread()
                    self.ending, self.error = "refused", answer.json()["error"]
                    return self
                async for line in answer.aiter_lines():
                    self._take(line)
        except httpx2.TransportError:
            pass  # it ended without saying how: "cut"
        finally:
            self.ended = time.monotonic()
            self.begun.set()
        return self

    def _take(self, line: str) -> None:
        if line == "data: [DONE]":
            self.ending = "done"
        elif line.startswith("data: "):
            event = json.loads(line.removeprefix("data: "))
            if "error" in event:
                self.ending, self.error = "error", event["error"]
                return
            self.text += "".join(choice["delta"].get("content") or "" for choice in event["choices"])
            if self.text:
                self.begun.set()


def client(url: str, connections: int = 1000) -> httpx2.AsyncClient:
    """With room for so many connections at once, and no proxy of the machine's."""
    limits = httpx2.Limits(max_connections=connections, max_keepalive_connections=0)
    return httpx2.AsyncClient(base_url=url, timeout=120, limits=limits, trust_env=False)


async def begin(
    client: httpx2.AsyncClient, count: int, **fields: Any
) -> tuple[list[Stream], list[asyncio.Task[Stream]]]:
    """So many streams, each of which has said something."""
    streams = [Stream() for _ in range(count)]
    tasks = [asyncio.create_task(stream.read(client, **fields)) for stream in streams]
    await asyncio.wait_for(asyncio.gather(*(stream.begun.wait() for stream in streams)), 60)
    return streams, tasks
