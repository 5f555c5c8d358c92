"""An engine process without an engine: answers the boundary's messages at a fixed pace, so that only HTTP is measured.

`ms_per_token` of the model's settings is the pace; 0 answers everything at once.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any, get_origin

import uvloop
from msgspec.structs import fields

from aphrodite.service.engines import boundary
from aphrodite.service.engines.boundary import Facts, Stats, Token
from aphrodite_engine.build import Build

_WORD = " word"
_PREFIX = 4


class NullEngine:
    """Sequences that get a token each tick."""

    def __init__(self, writer: asyncio.StreamWriter, ms_per_token: float) -> None:
        self._writer = writer
        self._tick = ms_per_token / 1000
        self._left: dict[int, int] = {}

    def generate(self, message: boundary.Generate) -> None:
        self._send(boundary.Admitted(message.id, 0, 8))
        count = int(message.params.get("max_tokens") or 16)
        if self._tick:
            self._left[message.id] = count
            return
        tokens = [self._token(message.id, last=place == count - 1) for place in range(count)]
        self._send(boundary.Tokens(tokens))

    def abort(self, request_id: int) -> None:
        self._left.pop(request_id, None)

    def stats(self) -> Stats:
        return Stats(running=len(self._left), kv_blocks=1)

    async def run(self) -> None:
        """Tick on an even grid, however long a tick's work takes."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due += self._tick or 1.0
            await asyncio.sleep(max(0.0, due - loop.time()))
            if not self._left:
                continue
            tokens = [self._token(request_id, left == 1) for request_id, left in self._left.items()]
            self._left = {request_id: left - 1 for request_id, left in self._left.items() if left > 1}
            self._send(boundary.Tokens(tokens))

    def _send(self, message: boundary.FromEngine) -> None:
        self._writer.write(boundary.frame(message))

    @staticmethod
    def _token(request_id: int, last: bool) -> Token:
        timing = (0.0, 0.0, 0.0) if last else None
        return Token(request_id, 0, _WORD, (1,), "length" if last else None, timing=timing)


def facts(model: str) -> Facts:
    """As if a model were loaded."""
    known: dict[str, Any] = {
        f.name: (get_origin(f.type) or f.type)() for f in fields(Facts) if f.required and f.name != "build"
    }
    known |= dict.fromkeys(("architecture", "plan_text"), "null")
    known |= {"build": Build(*["null"] * 8)}
    known |= {"model": model, "device": "cpu", "template_source": "{{ messages }}", "plan": {}}
    known |= {"generates": True, "has_chat_template": True, "bos": True}
    known |= {"max_model_len": 100_000, "vocab_size": 100, "embedding_size": 8, "load_seconds": 0.0}
    return Facts(**known)


async def main() -> None:
    """Serve the one connection until the other end closes."""
    reader, writer = await asyncio.open_unix_connection(sys.argv[1])
    engine: NullEngine | None = None
    ticking: asyncio.Task[None] | None = None
    while True:
        try:
            length = int.from_bytes(await reader.readexactly(_PREFIX), "big")
            message = boundary.decode_to_engine(await reader.readexactly(length))
        except asyncio.IncompleteReadError:
            return
        if isinstance(message, boundary.Open):
            engine = NullEngine(writer, float(message.settings.get("ms_per_token", 0)))
            ticking = asyncio.create_task(engine.run())
            writer.write(boundary.frame(boundary.Ready(facts(message.model))))
        elif engine is None:
            raise ValueError("the first message must be Open")
        elif isinstance(message, boundary.Ping):
            writer.write(boundary.frame(boundary.Pong(message.number, engine.stats())))
        elif isinstance(message, boundary.Generate):
            engine.generate(message)
        elif isinstance(message, boundary.Abort):
            engine.abort(message.id)
        elif isinstance(message, boundary.Close):
            if ticking:
                ticking.cancel()
            return


if __name__ == "__main__":
    uvloop.run(main())
