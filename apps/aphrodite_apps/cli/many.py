"""Many prompts at once: results in the order of the prompts, each as soon as it and those before it are done."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

from tqdm import tqdm

import aphrodite
from aphrodite_apps.cli.command import UsageError
from aphrodite_apps.cli.prompts import Prompt
from aphrodite_engine.errors import AphroditeError


def answer_all(
    llm: aphrodite.LLM,
    prompts: Sequence[Prompt],
    params: Sequence[aphrodite.SamplingParams],
    emit: Callable[[aphrodite.GenerationResult], None],
) -> None:
    """Run all prompts together and hand each result to `emit`; an interrupt keeps what was handed over.

    Raises:
        UsageError: a prompt is refused, by its number; nothing has been handed over then.
    """

    async def main() -> None:
        with tqdm(total=len(prompts), unit="prompt", leave=False, disable=not sys.stderr.isatty()) as bar:
            async for result in _in_order(llm, prompts, params):
                emit(result)
                bar.update()

    asyncio.run(main())


async def _in_order(
    llm: aphrodite.LLM, prompts: Sequence[Prompt], params: Sequence[aphrodite.SamplingParams]
) -> AsyncIterator[aphrodite.GenerationResult]:
    tasks = [asyncio.create_task(_ask(llm, *pair)) for pair in zip(prompts, params, strict=True)]
    try:
        # Every task checks its prompt before it first waits: after one turn of the loop all refusals are known.
        await asyncio.sleep(0)
        for number, task in enumerate(tasks, start=1):
            if task.done() and (refusal := task.exception()):
                raise UsageError(f"prompt {number}: {refusal}") if isinstance(refusal, AphroditeError) else refusal
        for task in tasks:
            yield (await task)[0]
    finally:
        for task in tasks:
            task.cancel()


def _ask(
    llm: aphrodite.LLM, prompt: Prompt, params: aphrodite.SamplingParams
) -> Coroutine[Any, Any, list[aphrodite.GenerationResult]]:
    return llm.achat(prompt.content, params) if prompt.is_chat else llm.agenerate(prompt.content, params)
