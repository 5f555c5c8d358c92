"""Questions have the same answers, to the last bit, in this process and over HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aphrodite.client import Client, NotFoundError
from aphrodite.lab import Comparison, Tree, compare
from aphrodite.local import LocalSession
from aphrodite.session import Session
from aphrodite_engine.errors import ParameterError
from aphrodite_engine.params import SamplingParams

START = "Once upon a time"
QUESTION = [{"role": "user", "content": "What is 39 + 48?"}]
PARAMS = SamplingParams(temperature=1.4, top_p=0.9, xtc_probability=0.5, repetition_penalty=1.2)


def everything(session: Session) -> list[Any]:
    return [
        session.next_token(START, PARAMS),
        session.next_token(QUESTION, PARAMS.with_fields(seed=9), top=3),
        session.score(START, continuations=[" there", ", Pip 🦊", [789]]),
        session.score(QUESTION, continuations=["87", "88"]),
        session.score("a fox", ["a hen", "a ball"]),
        session.perplexity(START * 9, window=20, stride=7),
        session.perplexity(START * 600),  # longer than the context
    ]


def test_answers_are_the_same(here: LocalSession, client: Client) -> None:
    assert everything(client) == everything(here)


def test_coroutines_have_them_too(here: LocalSession, client: Client) -> None:
    async def ask() -> Any:
        return await asyncio.gather(
            client.anext_token(START, top=3),
            client.ascore(START, continuations=[" there"]),
            client.ascore("a fox", ["a hen"]),
            client.aperplexity(START, 4, 2),
        )

    assert list(asyncio.run(ask())) == [
        here.next_token(START, top=3),
        here.score(START, continuations=[" there"]),
        here.score("a fox", ["a hen"]),
        here.perplexity(START, 4, 2),
    ]


@pytest.mark.parametrize("where", ["here", "over HTTP"])
def test_what_is_wrong_has_the_same_name(where: str, here: LocalSession, client: Client) -> None:
    session: Session = here if where == "here" else client
    with pytest.raises(ParameterError, match=r"stride=10 is not allowed: an integer from 1 to 9"):
        session.perplexity(START, window=10, stride=10)
    with pytest.raises(ParameterError, match="window=2048 is not allowed: an integer from 2 to 2047"):
        session.perplexity(START, window=2048)
    with pytest.raises(ParameterError, match="prompt"):
        session.score(START, continuations=[[10**6]])


def test_a_client_names_the_model_and_is_told_where_there_is_none(client: Client) -> None:
    assert client.context(model="demo") == client.context() == 2048
    assert client.next_token(START, model="demo") == client.next_token(START)
    with pytest.raises(ParameterError, match="no-such"):
        client.context(model="no-such")
    with pytest.raises(NotFoundError, match="no-such"):
        client.perplexity(START, model="no-such")


def test_trees_and_comparisons_are_the_same(here: LocalSession, client: Client) -> None:
    def made(session: Session) -> tuple[list[list[int]], Comparison]:
        tree = Tree(session.generate(START, PARAMS.with_fields(seed=3, max_tokens=16))[0])
        tree.branch(5, seed=4)
        tree.expand(7, k=2, of=1)
        return [node.token_ids for node in tree], compare(tree[0].result, tree[1].result)

    assert made(client) == made(here)
