"""The async twins: same results, a free event loop, and cancelling aborts."""

from __future__ import annotations

import asyncio
import contextlib

import numpy as np
import pytest

from aphrodite_engine.errors import EngineClosedError, ParameterError
from aphrodite_engine.llm import LLM
from aphrodite_engine.params import SamplingParams
from tests.engine.inside import all_blocks_free, engine_of, wait_until

SHORT = SamplingParams(max_tokens=8, seed=3, ignore_eos=True, n=2)
ENDLESS = SamplingParams(max_tokens=None, ignore_eos=True)
MESSAGES = [{"role": "user", "content": "Hello!"}]


def test_each_twin_gives_what_the_sync_method_gives(tiny: LLM) -> None:
    async def main() -> None:
        results = await tiny.agenerate(["ab", "cd"], SHORT, priority=1, cache_salt="x")
        assert [r.outputs for r in results] == [r.outputs for r in tiny.generate(["ab", "cd"], SHORT)]
        assert (await tiny.achat(MESSAGES, SHORT))[0].outputs == tiny.chat(MESSAGES, SHORT)[0].outputs
        events = [event async for event in tiny.astream(MESSAGES, SHORT)]
        assert "".join(e.text for e in events if e.index == 1) == tiny.chat(MESSAGES, SHORT)[0].outputs[1].text
        assert np.array_equal(await tiny.aembed(["ab", "cd"]), tiny.embed(["ab", "cd"]))

    asyncio.run(main())


def test_sync_methods_work_inside_a_running_event_loop(tiny: LLM) -> None:
    async def main() -> str:
        assert next(iter(tiny.stream("ab", SHORT))).token_ids
        tiny.embed("ab")
        return tiny.generate("ab", SHORT)[0].text

    assert asyncio.run(main()) == tiny.generate("ab", SHORT)[0].text


def test_the_event_loop_stays_free_while_a_request_runs(tiny: LLM) -> None:
    async def main() -> int:
        task, turns = asyncio.create_task(tiny.agenerate("ab", ENDLESS)), 0
        while not task.done():
            turns += 1
            await asyncio.sleep(0)
        return turns

    assert asyncio.run(main()) > 20


def test_many_tasks_at_once_each_get_their_own(tiny: LLM) -> None:
    prompts = ["a" * length for length in range(1, 20)]

    async def main() -> list[str]:
        results = await asyncio.gather(*(tiny.agenerate(prompt, SHORT) for prompt in prompts))
        return [result[0].text for result in results]

    assert asyncio.run(main()) == [result.text for result in tiny.generate(prompts, SHORT)]


def test_cancelling_a_task_aborts_its_requests(tiny: LLM) -> None:
    async def main() -> None:
        task = asyncio.create_task(tiny.agenerate(["ab", "cd"], ENDLESS.with_fields(n=3)))
        while not engine_of(tiny).scheduler.running:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    wait_until(lambda: all_blocks_free(tiny) and not engine_of(tiny).has_work)


def test_cancelling_the_reader_of_a_stream_aborts_it(tiny: LLM) -> None:
    async def read() -> None:
        async for _ in tiny.astream("ab", ENDLESS):
            pass

    async def main() -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(read(), 0.05)

    asyncio.run(main())
    wait_until(lambda: not engine_of(tiny).has_work)


def test_closing_a_stream_early_aborts_it_at_once(tiny: LLM) -> None:
    async def main() -> None:
        async with contextlib.aclosing(tiny.astream("ab", ENDLESS)) as events:
            async for _ in events:
                break
        await asyncio.to_thread(wait_until, lambda: not engine_of(tiny).has_work)

    asyncio.run(main())


def test_an_event_loop_that_ends_mid_stream_harms_nobody(tiny: LLM) -> None:
    async def main() -> None:
        await anext(tiny.astream("ab", ENDLESS))

    asyncio.run(main())
    assert tiny.generate("ab", SHORT)[0].finished
    wait_until(lambda: not engine_of(tiny).has_work)


def test_a_bad_request_is_refused_before_anything_is_awaited(tiny: LLM) -> None:
    with pytest.raises(ParameterError):
        tiny.astream("ab", SamplingParams(logit_bias={10**6: 1.0}))


def test_closing_the_engine_ends_what_waits(tiny_folder) -> None:
    async def main() -> None:
        llm = LLM(tiny_folder)
        task = asyncio.create_task(llm.agenerate(["ab"] * 100, ENDLESS))
        while not engine_of(llm).scheduler.running:
            await asyncio.sleep(0.001)
        await asyncio.to_thread(llm.close)
        with pytest.raises(EngineClosedError):
            await task

    asyncio.run(main())
