"""Requests handed to the engine's thread, and what comes back, for callers who wait, stream or await."""

from __future__ import annotations

import asyncio
import contextlib
import queue
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from aphrodite_engine.loop import EngineLoop
from aphrodite_engine.outputs import CompletionOutput, GenerationResult, Origin, TokenEvent
from aphrodite_engine.request import Request


def collect(
    loop: EngineLoop, requests: Sequence[Request], origins: Sequence[Origin], each: Callable[[TokenEvent], None]
) -> list[GenerationResult]:
    """Run requests to their end; whatever ends the waiting early, an interrupt or an error, aborts the rest.

    Args:
        origins: what each result shall say it was made from.
        each: called with every event.
    """
    events: queue.SimpleQueue[TokenEvent] = queue.SimpleQueue()
    results = _empty_results(requests, origins)
    unfinished = sum(request.params.n for request in requests)
    try:
        for request in requests:
            loop.submit(request, events.put)
        while unfinished:
            event = _checked(events.get())
            results[event.request_id].add(event)
            unfinished -= event.finish_reason is not None
            each(event)
    finally:
        for request in requests:
            if unfinished and not results[request.request_id].finished:
                loop.abort(request.request_id)
    return list(results.values())


def stream(loop: EngineLoop, request: Request, origin: Origin) -> Iterator[TokenEvent]:
    """A request's events as they come, from when the first is asked for; closing the iterator aborts it."""
    told: Origin | None = origin
    events: queue.SimpleQueue[TokenEvent] = queue.SimpleQueue()
    unfinished = request.params.n
    loop.submit(request, events.put)
    try:
        while unfinished:
            event = _checked(events.get())
            unfinished -= event.finish_reason is not None
            yield replace(event, origin=told) if told else event
            told = None
    finally:
        if unfinished:
            loop.abort(request.request_id)


def collect_vectors(loop: EngineLoop, requests: Sequence[Request]) -> np.ndarray:
    """The vectors of requests for pooling, in their order."""
    return np.stack([event.embedding for event in collect_single(loop, requests)])  # type: ignore[arg-type]


def collect_single(loop: EngineLoop, requests: Sequence[Request]) -> list[TokenEvent]:
    """The only event of each request that draws no token, in their order; waiting may be interrupted."""
    events: queue.SimpleQueue[TokenEvent] = queue.SimpleQueue()
    answers: dict[str, TokenEvent] = {}
    try:
        for request in requests:
            loop.submit(request, events.put)
        while len(answers) < len(requests):
            event = _checked(events.get())
            answers[event.request_id] = event
    finally:
        for request in requests:
            if request.request_id not in answers:
                loop.abort(request.request_id)
    return [answers[request.request_id] for request in requests]


async def acollect(loop: EngineLoop, requests: Sequence[Request], origins: Sequence[Origin]) -> list[GenerationResult]:
    """collect() that leaves the event loop free; cancelling the task aborts."""
    results = _empty_results(requests, origins)
    async with contextlib.aclosing(astream(loop, requests)) as events:
        async for event in events:
            results[event.request_id].add(event)
    return list(results.values())


async def astream(
    loop: EngineLoop, requests: Sequence[Request], origin: Origin | None = None
) -> AsyncGenerator[TokenEvent]:
    """The events of requests as they come, the very first with `origin`; closing the iterator aborts the unfinished."""
    events: asyncio.Queue[TokenEvent] = asyncio.Queue()
    put = _threadsafe_put(asyncio.get_running_loop(), events)
    unfinished = {request.request_id: request.params.n for request in requests}
    try:
        for request in requests:
            loop.submit(request, put)
        while unfinished:
            event = _checked(await events.get())
            if event.finish_reason is not None:
                unfinished[event.request_id] -= 1
                if not unfinished[event.request_id]:
                    del unfinished[event.request_id]
            yield replace(event, origin=origin) if origin else event
            origin = None
    finally:
        for request_id in unfinished:
            loop.abort(request_id)


def _empty_results(requests: Sequence[Request], origins: Sequence[Origin]) -> dict[str, GenerationResult]:
    return {
        request.request_id: GenerationResult(
            request.request_id,
            origin.prompt,
            list(request.prompt_token_ids),
            [CompletionOutput(index, request.seed) for index in range(request.params.n)],
            origin=origin,
        )
        for request, origin in zip(requests, origins, strict=True)
    }


def _checked(event: TokenEvent) -> TokenEvent:
    if event.error is not None:
        raise event.error
    return event


def _threadsafe_put(loop: asyncio.AbstractEventLoop, events: asyncio.Queue[TokenEvent]) -> Callable[[TokenEvent], None]:
    def put(event: TokenEvent) -> None:
        # A loop that ended has nobody left to tell; it may end between a question and the call, so it is not asked.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(events.put_nowait, event)

    return put
