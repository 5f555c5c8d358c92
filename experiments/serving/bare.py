"""The measure of our layers: the smallest ASGI application on the same uvicorn, with answers of the same size."""

from __future__ import annotations

import asyncio
import sys

import uvicorn

BODY = b'{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"' + b" word" * 80 + b'"}}]}'


async def app(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
    """Read the body, answer; `/stream/N` sends N events, 20 ms apart."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    if scope["path"].startswith("/stream/"):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        for _ in range(int(scope["path"].rsplit("/", 1)[1])):
            await asyncio.sleep(0.02)
            await send({"type": "http.response.body", "body": b"data: " + BODY[:200] + b"\n\n", "more_body": True})
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})
        return
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]
    if scope["path"] == "/as-many-headers":
        headers += [
            (b"x-request-id", b"req_" + b"0" * 24),
            (b"openai-processing-ms", b"0"),
            (b"x-process-time", b"0.1"),
        ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


if __name__ == "__main__":
    uvicorn.run(
        app, host="127.0.0.1", port=int(sys.argv[1]), loop="uvloop", http="httptools", access_log="--log" in sys.argv,
        log_level="info", lifespan="off",
    )  # fmt: skip
