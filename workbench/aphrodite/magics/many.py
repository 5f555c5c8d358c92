"""Many prompts, answered together: the plan first, a bar meanwhile; an interrupt keeps what is finished."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from aphrodite.display.generation import Generation, Generations
from aphrodite.magics.asked import Asked
from aphrodite.magics.errors import UsageError
from aphrodite.magics.feed import Feed
from aphrodite.magics.notebook import Notebook
from aphrodite_engine.errors import AphroditeError
from aphrodite_engine.outputs import GenerationResult

if TYPE_CHECKING:  # the client takes a moment to import that only the first request pays
    from aphrodite.client.async_client import AsyncClient

#: Prompts under way at once: enough to fill the engine's batches, few enough for others.
_CONCURRENCY = 64

_Numbered = tuple[int, GenerationResult]


def answer_all(notebook: Notebook, requests: Sequence[Asked]) -> Generations:
    """One result a prompt, in their order.

    Raises:
        UsageError: a prompt is refused; says which.
    """
    print(plan(requests))
    results: dict[int, GenerationResult] = {}
    feed: Feed[_Numbered] = Feed(notebook.client(), partial(_answers, requests))
    try:
        with _bar(notebook, requests) as bar:
            for handful in feed:
                for number, result in handful:
                    results[number] = result
                    _advance(bar, requests[number], result)
    except KeyboardInterrupt:
        feed.close()
        results.update(feed.items)
        print(f"interrupted: {len(results)} of {len(requests)} prompts are answered and kept")
    finally:
        feed.close()
    found = [(requests[number], result) for number, result in sorted(results.items())]
    return Generations([_generation(request, result) for request, result in found])


def _generation(request: Asked, result: GenerationResult) -> Generation:
    return Generation(result, request.model, request.fields, request.shade, request.question)


def plan(requests: Sequence[Asked]) -> str:
    """What is about to be computed: '20 prompts x 4 = 80 generations, up to 20,480 tokens'."""
    count, n = len(requests), requests[0].params.n
    prompts = f"{count:,} prompt{'s' if count > 1 else ''}"
    generations = f"{prompts} x {n} = {count * n:,} generations" if n > 1 else prompts
    most = _most(requests)
    return f"{generations}, " + ("each until the context is full" if most is None else f"up to {most:,} tokens")


def _most(requests: Sequence[Asked]) -> int | None:
    each = requests[0].params.max_tokens
    return None if each is None else each * requests[0].params.n * len(requests)


def _bar(notebook: Notebook, requests: Sequence[Asked]) -> Any:
    from tqdm.auto import tqdm

    hidden = notebook.settings.display != "rich"
    return tqdm(total=_most(requests), unit="tok", disable=hidden, leave=False)


def _advance(bar: Any, request: Asked, result: GenerationResult) -> None:
    """Count what came; what a text left of its max_tokens is nothing to wait for."""
    tokens = sum(len(output.token_ids) for output in result.outputs)
    if bar.total is not None:
        bar.total -= (request.params.max_tokens or 0) * request.params.n - tokens
    bar.update(tokens)


async def _answers(requests: Sequence[Asked], remote: AsyncClient) -> AsyncGenerator[_Numbered]:
    places = asyncio.Semaphore(_CONCURRENCY)

    async def one(number: int, request: Asked) -> _Numbered:
        async with places:
            try:
                return number, await _answer(remote, request)
            except AphroditeError as error:
                raise UsageError(f"prompt {number + 1}: {error}") from error

    tasks = [asyncio.ensure_future(one(*each)) for each in enumerate(requests)]
    try:
        for task in asyncio.as_completed(tasks):
            yield await task
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _answer(remote: AsyncClient, request: Asked) -> GenerationResult:
    if isinstance(request.prompt, str):
        return (await remote.generate(request.prompt, request.params, model=request.model))[0]
    return (await remote.chat(request.prompt, request.params, model=request.model))[0]
