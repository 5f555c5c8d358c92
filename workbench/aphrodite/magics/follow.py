"""Follow a request to its end, or to the interrupt that ends it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from aphrodite.display.generation import Generation
from aphrodite.magics.asked import Asked
from aphrodite.magics.feed import Feed
from aphrodite.magics.notebook import Notebook
from aphrodite.magics.screens import Screen
from aphrodite_engine.errors import AphroditeError
from aphrodite_engine.outputs import CompletionOutput, GenerationResult, TokenEvent

if TYPE_CHECKING:  # the client takes a moment to import that only the first request pays
    from aphrodite.client.async_client import AsyncClient


def follow(notebook: Notebook, request: Asked, screen: Screen) -> Generation:
    """Show a generation while it comes; an interrupt aborts the request and keeps what was there.

    Raises:
        AphroditeError: the request failed; what had come stays on the screen.
    """
    client, generation = notebook.client(), _generation(request, ())
    feed: Feed[TokenEvent] = Feed(client, partial(_events, request))
    try:
        for handful in feed:
            _fold(generation, handful)
            if not feed.has_ended:
                screen.update(generation)
                feed.rest(screen.pause)
    except KeyboardInterrupt:
        feed.close()
        # The interrupt may have come between two lines that belong together: what counts is what arrived.
        generation = _generation(request, feed.items)
        _end(generation, "abort")
    except AphroditeError:
        if feed.items:
            _end(generation, "error")
            screen.finish(generation)
        raise
    finally:
        feed.close()
    screen.finish(generation)
    return generation


async def follow_beside(remote: AsyncClient, request: Asked, screen: Screen) -> Generation:
    """The same in the client's own loop, beside cells that run; cancelling aborts and leaves the partial text.

    Raises:
        AphroditeError: the request failed.
    """
    generation, shown = _generation(request, ()), 0.0
    events = _events(request, remote)
    try:
        async for event in events:
            _fold(generation, [event])
            if event.finish_reason is None and time.monotonic() - shown > screen.pause:
                screen.update(generation)
                shown = time.monotonic()
    except asyncio.CancelledError:
        _end(generation, "abort")
        screen.finish(generation)
        raise
    finally:
        await events.aclose()
    screen.finish(generation)
    return generation


def _events(request: Asked, remote: AsyncClient) -> AsyncGenerator[TokenEvent]:
    return remote.stream(request.prompt, request.params, model=request.model)


def _generation(request: Asked, events: Sequence[TokenEvent]) -> Generation:
    outputs = [CompletionOutput(index, request.params.seed or 0) for index in range(request.params.n)]
    prompt = request.prompt if isinstance(request.prompt, str) else None
    result = GenerationResult("", prompt, [], outputs)
    generation = Generation(result, request.model, request.fields, request.shade, request.question)
    _fold(generation, events)
    return generation


def _fold(generation: Generation, events: Sequence[TokenEvent]) -> None:
    for event in events:
        generation.result.add(event)
        generation.result.outputs[event.index].seed = event.seed


def _end(generation: Generation, reason: str) -> None:
    for output in generation.result.outputs:
        output.finish_reason = output.finish_reason or reason  # type: ignore[assignment]
