"""The measure of our layers where an engine takes part: the smallest application that asks the same null engine.

The same uvicorn, the same socket and messages, a process of its own behind it; none of our layers: no keys, limits,
metrics, ids, log, checks, and no bound on anything.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import uvicorn
import uvloop

from aphrodite.service.engines import boundary
from aphrodite.service.engines.child import Child

NULL = (sys.executable, str(Path(__file__).parent / "null_worker.py"))


class Engine:
    """The null engine's process, and who waits for which request."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self._numbers = itertools.count(1)
        self._waiting: dict[int, tuple[list[str], asyncio.Future[str]]] = {}

    async def complete(self, body: dict[str, Any]) -> str:
        """The whole text of an answer."""
        number, done = next(self._numbers), asyncio.get_running_loop().create_future()
        self._waiting[number] = ([], done)
        params = {"max_tokens": body["max_tokens"]}
        self._child.send(boundary.Generate(number, params, messages=body["messages"]))
        return await done

    async def listen(self) -> None:
        """Put texts together until the process ends."""
        while (message := await self._child.receive()) is not None:
            for token in message.tokens if isinstance(message, boundary.Tokens) else ():
                texts, done = self._waiting[token.id]
                texts.append(token.text)
                if token.finish_reason is not None:
                    del self._waiting[token.id]
                    done.set_result("".join(texts))


class App:
    """Read the body, ask, answer in the shape of a chat."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def __call__(self, scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        if scope["type"] != "http":
            return
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        text = await self._engine.complete(json.loads(body))
        answer = {"id": "x", "choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]}
        data = json.dumps(answer).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(data)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": data})


async def serve(port: int) -> None:
    """Until the process is ended."""
    with tempfile.TemporaryDirectory() as directory:
        child = await Child.start(NULL, Path(directory))
        engine = Engine(child)
        child.send(boundary.Open("null", {"ms_per_token": 0}))
        listening = asyncio.create_task(engine.listen())
        config = uvicorn.Config(
            App(engine), host="127.0.0.1", port=port, http="httptools", access_log=False, lifespan="off"
        )
        try:
            await uvicorn.Server(config).serve()
        finally:
            listening.cancel()
            await child.end()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
