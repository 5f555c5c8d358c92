"""The tabs' handlers, without a browser: asking, stopping, and what goes wrong."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from aphrodite.client import AsyncClient
from aphrodite_apps.dashboard.run import PAUSE, Run, Runs
from aphrodite_apps.dashboard.sampler_fields import values_of
from aphrodite_apps.dashboard.tabs import chat, completion
from aphrodite_apps.dashboard.tabs.chat import Turn
from aphrodite_apps.dashboard.token_look import Look, look
from tests.service.running import Running, free_port, wait_for

QUESTION = "What is 39 + 48?"
ENDLESS: dict[str, Any] = {"max_tokens": 1500, "ignore_eos": True, "seed": 1}


def with_client(service: Running, work: Callable[[AsyncClient], Coroutine[Any, Any, Any]]) -> Any:
    async def run() -> Any:
        async with AsyncClient(service.url, model="demo", retries=0) as client:
            return await work(client)

    return asyncio.run(run())


def running_now(service: Running) -> int:
    with service.client(headers=service.admin) as client:
        return client.get("/admin/status").json()["models"][0]["stats"]["running"]


def asking(client: AsyncClient, runs: Runs, question: str = QUESTION, **fields: Any) -> AsyncGenerator[chat.View]:
    return chat.ask(client, partial(runs.follow, "page/chat"), question, (), "", "demo", values_of(fields))


def test_an_answer_shows_its_tokens_and_how_to_ask_again(served: Running) -> None:
    async def work(client: AsyncClient) -> list[chat.View]:
        return [view async for view in asking(client, Runs(), temperature=0)]

    *_, last = with_client(served, work)
    assert [turn.answer for turn in last.turns] == ["87"]
    assert last.turns[0].html.count("title=") >= 2
    assert "●" in last.turns[0].html and "○" in last.turns[0].html  # the drawn token among its alternatives
    assert str(last.seed) in last.facts and f"--seed {last.seed}" in last.cell
    assert not last.is_running


def test_the_conversation_goes_on_from_what_was_said(served: Running) -> None:
    turns = (Turn("My cat is called Tessa.", "What a nice name.", ""),)
    assert chat.conversation(turns, " ", "hm")[0]["role"] == "user"
    assert [m["role"] for m in chat.conversation(turns, "Be brief.", "hm")] == ["system", "user", "assistant", "user"]


def test_at_most_twenty_updates_a_second(served: Running) -> None:
    async def work(client: AsyncClient) -> list[float]:
        return [time.monotonic() async for _ in asking(client, Runs(), **{**ENDLESS, "max_tokens": 200})]

    times = with_client(served, work)
    assert len(times) > 3
    assert all(later - earlier > 0.9 * PAUSE for earlier, later in itertools.pairwise(times[:-1]))


def test_stop_aborts_in_the_engine_and_keeps_what_has_come(served: Running) -> None:
    async def work(client: AsyncClient) -> chat.View:
        runs, views = Runs(), []
        async for view in asking(client, runs, "Tell me a story.", **ENDLESS):
            views.append(view)
            if len(views) == 4:
                runs.stop("page/chat")
        return views[-1]

    last = with_client(served, work)
    wait_for(lambda: running_now(served) == 0, 5)
    assert "stopped" in last.facts
    assert last.turns[0].answer and last.cell


def test_a_page_that_is_left_aborts(served: Running) -> None:
    async def work(client: AsyncClient) -> None:
        async with aclosing(asking(client, Runs(), "Tell me a story.", **ENDLESS)) as views:
            async for view in views:
                if "tokens" in view.facts:
                    break
        await asyncio.sleep(0)

    with_client(served, work)
    wait_for(lambda: running_now(served) == 0, 5)


def test_closing_a_page_ends_only_its_own_runs(served: Running) -> None:
    async def work(client: AsyncClient) -> list[bool]:
        runs = Runs()
        streams = {name: Run(client.stream("Once", max_tokens=300, ignore_eos=True)) for name in ("a/chat", "b/chat")}
        following = [asyncio.ensure_future(_all(runs.follow(name, run))) for name, run in streams.items()]
        await asyncio.sleep(0.1)
        runs.stop_all("a/")
        await asyncio.gather(*following)
        return [run.output.finish_reason == "abort" for run in streams.values()]

    assert with_client(served, work) == [True, False]


async def _all(updates: AsyncGenerator[None]) -> None:
    async for _ in updates:
        pass


@pytest.mark.parametrize(
    "question, fields, said",
    [
        (QUESTION, {"seed": "12x"}, "seed=&#x27;12x&#x27; is not allowed: a whole number or none"),
        ("word " * 3000, {}, "prompt tokens fit"),
    ],
)
def test_a_mistake_is_one_line_and_the_question_is_kept(
    served: Running, question: str, fields: dict[str, Any], said: str
) -> None:
    async def work(client: AsyncClient) -> list[chat.View]:
        return [view async for view in asking(client, Runs(), question, **fields)]

    *_, last = with_client(served, work)
    assert said in last.facts and 'role="alert"' in last.facts
    assert (last.question, last.turns) == (question, ())


def test_a_service_that_is_gone_is_one_line() -> None:
    async def work() -> completion.View:
        async with AsyncClient(f"http://127.0.0.1:{free_port()}", retries=0) as client:
            views = completion.write_on(client, partial(Runs().follow, "x"), "Once", "demo", values_of({}))
            return [view async for view in views][-1]

    last = asyncio.run(work())
    assert "could not be reached" in last.facts
    assert "Traceback" not in last.facts


def test_a_completion_goes_on_from_its_text(served: Running) -> None:
    async def work(client: AsyncClient) -> completion.View:
        follow = partial(Runs().follow, "x")
        values = values_of({"max_tokens": 12, "seed": 3})
        return [view async for view in completion.write_on(client, follow, "Once <b>upon", "demo", values)][-1]

    last = with_client(served, work)
    assert last.text is not None and last.text.startswith("Once <b>upon") and len(last.text) > len("Once <b>upon")
    assert "Once &lt;b&gt;upon" in last.written
    assert "cut at the token limit" in last.facts


def test_a_token_of_a_completion_is_looked_at_and_written_on_from(served: Running) -> None:
    async def work(client: AsyncClient) -> tuple[completion.View, Look, completion.View, Look]:
        follow = partial(Runs().follow, "x")
        values = values_of({"max_tokens": 12, "seed": 3, "temperature": 1.3, "min_p": 0.1})
        whole = [view async for view in completion.write_on(client, follow, "Once upon a time", "demo", values)][-1]
        assert whole.asked is not None and whole.output is not None
        found = await look(client, whole.asked, whole.output, 3)
        given = (*whole.output.token_ids[:3], found.others[0][1])
        other = [view async for view in completion.write(client, follow, replace(whole.asked, given=given))][-1]
        assert other.asked is not None and other.output is not None
        return whole, found, other, await look(client, other.asked, other.output, 2)

    whole, found, other, refused = with_client(served, work)
    assert found.html.count(">1  temperature<") == found.html.count(">2  min_p<") == 1 and "Token 3" in found.html
    assert len(found.others) >= 4 and all("%" in text for text, _ in found.others)
    assert other.output.token_ids[:3] == whole.output.token_ids[:3] and "aphrodite-kept" in other.written
    assert other.output.token_ids[3] == found.others[0][1] and len(other.output.token_ids) == 12
    assert "from 4 to 11" in refused.html and refused.others == ()
