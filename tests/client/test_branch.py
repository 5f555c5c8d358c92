"""Branches of a result: of a model in this process, and over HTTP."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
from typing import Any

import pytest

from aphrodite.client import AsyncClient, Client
from aphrodite.local import LocalSession
from aphrodite.session import Session
from aphrodite_engine.errors import EngineClosedError, OriginError, ParameterError
from aphrodite_engine.llm import LLM
from aphrodite_engine.outputs import GenerationResult
from aphrodite_engine.params import SamplingParams
from tests.client.test_session import said
from tests.service.running import Running

PROMPT = "Once upon a time"
SHARED: dict[str, Any] = {"max_tokens": 14, "seed": 9, "logprobs": 2}


@pytest.fixture(params=["here", "over HTTP"])
def session(request: pytest.FixtureRequest, here: LocalSession, client: Client) -> Session:
    return here if request.param == "here" else client


def test_with_nothing_changed_the_rest_is_the_result_s_own(session: Session) -> None:
    (story,) = session.generate(PROMPT, n=2, xtc_probability=0.5, prompt_logprobs=0, **SHARED)
    for index, output in enumerate(story.outputs):
        for at in (0, 1, 7, len(output.token_ids)):
            (again,) = story.branch(at, index=index).outputs
            assert (again.token_ids, again.text, again.finish_reason) == (
                output.token_ids, output.text, output.finish_reason,
            )  # fmt: skip
            assert again.logprobs is not None and again.logprobs[at:] == (output.logprobs or [])[at:]
            assert len(again.given) == at


def test_another_token_by_its_text_or_its_id(session: Session) -> None:
    (story,) = session.generate(PROMPT, **SHARED)
    (hen,) = session.tokenize(" hen", add_special_tokens=False)
    told, known = story.branch(3, " hen"), story.branch(3, token=hen)
    assert said(told) == said(known)
    assert told.token_ids[:4] == [*story.token_ids[:3], hen] and told.outputs[0].given[3] == " hen"
    assert told.prompt == PROMPT and told.prompt_token_ids == story.prompt_token_ids
    assert told.seed == story.seed and len(told.token_ids) == 14


def test_another_draw_and_other_fields(session: Session) -> None:
    (story,) = session.generate(PROMPT, **SHARED)
    others = [story.branch(2, seed=seed) for seed in range(4)]
    assert len({tuple(other.token_ids) for other in others}) > 1 and [other.seed for other in others] == [0, 1, 2, 3]
    longer = story.branch(14, max_tokens=18)
    assert longer.token_ids[:14] == story.token_ids and len(longer.token_ids) == 18
    assert story.branch(3, mirostat_mode=2).params.mirostat_mode == 2
    assert story.branch(3, temperature=0).tokens[5].processed_probability == 1


def test_a_branch_of_a_branch_goes_on_as_it_did(session: Session) -> None:
    (story,) = session.generate(PROMPT, n=3, **SHARED)
    first = story.branch(4, " hen", index=2)
    assert first.branch(9).token_ids == first.token_ids
    assert first.branch(2).token_ids == story.outputs[2].token_ids


def test_a_chat_and_a_stream_branch_too(session: Session) -> None:
    question = [{"role": "user", "content": "What is 39 + 48?"}]
    (answer,) = session.chat(question, temperature=0)
    assert answer.branch(1).text == answer.text and answer.branch(0, "9").text.startswith("9")
    result = GenerationResult("", None, [], copy.deepcopy(answer.outputs))
    result.outputs[0].text, result.outputs[0].token_ids = "", []
    for event in session.stream(question, temperature=0):
        result.add(event)
    assert result.branch(1).text == answer.text and result.prompt == answer.prompt


WRONG: dict[str, tuple[tuple[Any, ...], dict[str, Any], str, str]] = {
    "before the start": ((-1,), {}, "at", "from 0 to 14"),
    "behind the end": ((15,), {}, "at", "from 0 to 14"),
    "two tokens": ((1, " hen hen"), {}, "token", "these are 2: .* ' hen'"),
    "no token": ((1, ""), {}, "token", "these are 0: none"),
    "half a token": ((1, 2.5), {}, "token", "a token id, or the text"),
    "no such output": ((1,), {"index": 1}, "index", "from 0 to 0"),
    "several": ((1,), {"n": 2}, "n", "one sequence"),
    "out of range": ((1,), {"top_p": 2}, "top_p", "up to 1"),
    "too short": ((9,), {"max_tokens": 4}, "continuation", "at most max_tokens=4"),
    "not in the vocabulary": ((1, 10**6), {}, "continuation.token_ids[1]", "integers from 0"),
}


@pytest.mark.parametrize(("given", "fields", "named", "told"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_branch_is_refused_by_name(
    session: Session, given: tuple[Any, ...], fields: dict[str, Any], named: str, told: str
) -> None:
    (story,) = session.generate(PROMPT, ignore_eos=True, **SHARED)
    with pytest.raises(ParameterError, match=told) as refusal:
        story.branch(*given, **fields)
    assert refusal.value.field == named


def test_for_coroutines(here: LocalSession, service: Running) -> None:
    async def run() -> None:
        async with AsyncClient(service.url, api_key=service.connection.admin_key) as remote:
            (story,) = await remote.generate(PROMPT, **SHARED)
            with pytest.raises(OriginError, match=r"await result\.abranch"):
                story.branch(3)
            assert (await story.abranch(3)).token_ids == story.token_ids
            (local,) = await here.agenerate(PROMPT, **SHARED)
            assert said(await local.abranch(3, seed=1)) == said(await story.abranch(3, seed=1))

    asyncio.run(run())


def test_a_result_keeps_no_model_alive() -> None:
    with LLM("demo", kv_cache_memory=2**24) as llm:
        (story,) = llm.generate(PROMPT, SamplingParams(**SHARED))
    with pytest.raises(EngineClosedError):
        story.branch(3)
    del llm
    gc.collect()
    with pytest.raises(OriginError, match="gone"):
        story.branch(3)


def test_a_result_of_another_process_is_asked_of_a_session(session: Session) -> None:
    (story,) = session.generate(PROMPT, **SHARED)
    loaded = pickle.loads(pickle.dumps(story))
    assert loaded == story
    with pytest.raises(OriginError, match=r"session\.branch"):
        loaded.branch(3)
    assert session.branch(loaded, 3).token_ids == story.token_ids
    assert copy.deepcopy(story).branch(3).token_ids == story.token_ids


def test_a_branch_is_steered_as_its_result_was(here: LocalSession) -> None:
    import numpy as np

    push = np.random.default_rng(1).standard_normal(here.facts.hidden_size).astype("float32")
    with here.steer(2, push, 40.0):
        (pushed,) = here.generate(PROMPT, **SHARED)
        assert pushed.branch(5).token_ids == pushed.token_ids
    assert pushed.branch(5).token_ids == pushed.token_ids
    (plain,) = here.generate(PROMPT, **SHARED)
    assert plain.token_ids != pushed.token_ids
    with here.steer(2, push, 40.0):
        assert plain.branch(5).token_ids == plain.token_ids
