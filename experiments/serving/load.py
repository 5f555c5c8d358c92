"""A load generator that costs little: one process, plain sockets, keep-alive connections.

Closed loop: each connection sends its next request when the last answer is complete. Open loop: requests arrive as a
Poisson process, each on a connection of its own from a pool.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

HOST = "127.0.0.1"
_TEXT = re.compile(rb'"content":"[^"]')


@dataclass
class Answer:
    """One request's times, in seconds of the monotonic clock.

    Attributes:
        events: when each event with text came (one entry, the end, where it was not a stream).
        complete: a whole answer: status 200, and `[DONE]` where it was a stream.
    """

    sent: float
    events: list[float] = field(default_factory=list)
    ended: float = 0.0
    status: int = 0
    complete: bool = False

    @property
    def seconds(self) -> float:
        return self.ended - self.sent

    @property
    def ttft(self) -> float:
        return self.events[0] - self.sent if self.events else float("nan")

    @property
    def itls(self) -> list[float]:
        return [b - a for a, b in zip(self.events, self.events[1:], strict=False)]


def request(path: str, body: dict[str, object] | None = None, key: str = "") -> bytes:
    """The bytes of an HTTP/1.1 request."""
    lines = [f"{'GET' if body is None else 'POST'} {path} HTTP/1.1", f"host: {HOST}"]
    if key:
        lines.append(f"authorization: Bearer {key}")
    data = b""
    if body is not None:
        data = json.dumps(body).encode()
        lines += ["content-type: application/json", f"content-length: {len(data)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


class Connection:
    """One keep-alive connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, data: bytes) -> Answer:
        """Send a request, read its answer to the end."""
        if self._writer is None or self._writer.is_closing():
            self._reader, self._writer = await asyncio.open_connection(HOST, self._port)
        assert self._reader is not None
        answer = Answer(time.perf_counter())
        self._writer.write(data)
        head = await self._reader.readuntil(b"\r\n\r\n")
        answer.status = int(head[9:12])
        lowered = head.lower()
        if b"transfer-encoding: chunked" in lowered:
            await self._chunks(answer)
        else:
            length = int(lowered.split(b"content-length: ")[1].split(b"\r\n")[0])
            await self._reader.readexactly(length)
            answer.complete = answer.status == 200
            answer.events.append(time.perf_counter())
        answer.ended = time.perf_counter()
        return answer

    async def _chunks(self, answer: Answer) -> None:
        assert self._reader is not None
        while size := int(await self._reader.readline(), 16):
            chunk = await self._reader.readexactly(size + 2)
            now = time.perf_counter()
            answer.events += [now] * len(_TEXT.findall(chunk))
            answer.complete |= chunk.startswith(b"data: [DONE]") or b"\ndata: [DONE]" in chunk
        await self._reader.readline()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


async def closed_loop(port: int, data: Callable[[], bytes], concurrency: int, count: int) -> list[Answer]:
    """`count` requests over `concurrency` connections."""
    answers: list[Answer] = []
    left = count

    async def one() -> None:
        nonlocal left
        connection = Connection(port)
        while left > 0:
            left -= 1
            answers.append(await connection.ask(data()))
        connection.close()

    await asyncio.gather(*(one() for _ in range(concurrency)))
    return answers


async def open_loop(port: int, data: Callable[[], bytes], per_second: float, seconds: float) -> list[Answer]:
    """Poisson arrivals, whatever the server keeps up with."""
    draw, idle = random.Random(0), [Connection(port)]
    running: list[asyncio.Task[Answer]] = []

    async def one() -> Answer:
        connection = idle.pop() if idle else Connection(port)
        answer = await connection.ask(data())
        idle.append(connection)
        return answer

    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        running.append(asyncio.create_task(one()))
        await asyncio.sleep(draw.expovariate(per_second))
    answers = await asyncio.gather(*running)
    for connection in idle:
        connection.close()
    return list(answers)
