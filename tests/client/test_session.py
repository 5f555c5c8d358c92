"""One contract, two systems: a session in this process and one over HTTP take and give the same, to the last bit."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import aphrodite
from aphrodite.client import Client
from aphrodite.client.generate_call import GenerateCall
from aphrodite.client.results import token_event
from aphrodite.generated import Candidate, Piece
from aphrodite.local import LocalSession
from aphrodite.session import NoService, Session, connect
from aphrodite_engine.errors import (
    ChatTemplateError,
    ContextOverflowError,
    EngineClosedError,
    OriginError,
    ParameterError,
)
from aphrodite_engine.outputs import CompletionOutput, GenerationResult, Logprob, TokenEvent
from aphrodite_engine.params import SamplingParams
from aphrodite_engine.prompts import Continuation
from tests.service.running import Running, wait_for

QUESTION = [{"role": "user", "content": "What is 39 + 48?"}]
STORY = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Tell me a story about a fox."}]
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
ENDLESS: dict[str, Any] = {"ignore_eos": True, "max_tokens": 1500}


@pytest.fixture(params=["here", "over HTTP"])
def session(request: pytest.FixtureRequest, here: LocalSession, client: Client) -> Session:
    return here if request.param == "here" else client


def said(result: Any) -> dict[str, Any]:
    """All of a result or an event but its name and its times."""
    assert isinstance(result, (GenerationResult, TokenEvent))
    fields = dataclasses.asdict(result) | {"request_id": "", "timing": None}
    # What is cached depends on who asked before; that it changes nothing is what these tests are about.
    return fields | {"num_cached_tokens": 0}


# ---- the same bits

SAMPLINGS: dict[str, dict[str, Any]] = {
    "greedy": {"seed": 10, "temperature": 0},
    "drawn": {"seed": 11},
    "several": {"seed": 12, "n": 3},
    "penalties": {
        "seed": 13, "repetition_penalty": 1.3, "frequency_penalty": 0.4, "presence_penalty": 0.2,
        "logit_bias": {30: 1.5, 31: -100},
    },
    "truncated": {"seed": 14, "top_k": 40, "top_p": 0.8, "min_p": 0.01, "temperature": 3.5, "temperature_last": True},
    "trace": {"seed": 16, "trace": 3, "top_p": 0.8, "xtc_probability": 0.5, "mirostat_mode": 0},
    "mirostat": {"seed": 17, "mirostat_mode": 2, "mirostat_tau": 3.0, "trace": 2},
    "repetition": {"seed": 18, "dry_multiplier": 0.8, "no_repeat_ngram_size": 3, "bad_words": ["the"]},
    "phrases": {"seed": 19, "banned_phrases": ["the", "was a"], "logprobs": 2, "trace": 2, "n": 2},
    "going round": {"seed": 2, "repetition_detection": {"max_pattern_size": 4, "min_count": 2}, "top_k": 1},
    "own order": {"seed": 15, "sampler_order": ["top_p", "temperature"], "top_p": 0.7},
    "some ids only": {"seed": 16, "allowed_token_ids": list(range(20, 400))},
    "raw logprobs": {"seed": 17, "logprobs": 5, "prompt_logprobs": 3},
    "processed logprobs": {"seed": 18, "logprobs": 5, "top_k": 2, "logprobs_mode": "processed", "n": 2},
    "only the drawn logprob": {"seed": 19, "logprobs": 0, "prompt_logprobs": 0},
    "stop string": {"seed": 20, "stop": ["."], "max_tokens": 60},
    "stop string kept": {"seed": 20, "stop": ".", "include_stop_str_in_output": True, "max_tokens": 60},
    "stop id": {"seed": 21, "stop_token_ids": [267], "max_tokens": 60},
    "least and most": {"seed": 22, "min_tokens": 9, "max_tokens": 9},
    "special tokens": {"seed": 23, "ignore_eos": True, "skip_special_tokens": False},
    "a choice": {"seed": 24, "structured_outputs": {"choice": ["fox", "hen"]}},
}  # fmt: skip


@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS.keys())
def test_a_prompt_gives_the_same_bits(here: LocalSession, client: Client, sampling: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"max_tokens": 12} | sampling
    (local,) = here.generate("Once upon a time", **fields)
    (remote,) = client.generate("Once upon a time", **fields)
    assert said(remote) == said(local)
    assert local.finished and remote.timing is not None and remote.timing.total_ms > 0


@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS.keys())
def test_a_stream_has_the_same_bits(here: LocalSession, client: Client, sampling: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"max_tokens": 12} | sampling
    local, remote = list(here.stream(STORY, **fields)), list(client.stream(STORY, **fields))
    by_sequence: Callable[[TokenEvent], int] = lambda event: event.index  # noqa: E731 (n sequences may mix)
    assert list(map(said, sorted(remote, key=by_sequence))) == list(map(said, sorted(local, key=by_sequence)))


def test_entropy_comes_with_the_drawn_token_of_every_position(session: Session) -> None:
    (result,) = session.generate("Once upon a time", seed=17, logprobs=2, prompt_logprobs=1, max_tokens=4)
    (output,) = result.outputs
    positions = [*(output.logprobs or ()), *(position for position in result.prompt_logprobs or () if position)]
    first = [next(iter(position.values())) for position in positions]
    assert len(first) == 4 + len(result.prompt_token_ids) - 1
    assert all(drawn.entropy is not None and 0 <= drawn.entropy <= math.log(4096) for drawn in first)
    assert session.generate("Once", seed=17, max_tokens=1)[0].outputs[0].logprobs is None


def test_an_impossible_token_crosses_http_as_null() -> None:
    """A token of the prompt may be impossible where a model masks parts of its vocabulary."""
    candidate = Candidate(token_id=7, logprob=None, rank=9, decoded_token="x")
    call = GenerateCall(SamplingParams(), "demo", 0, "", prompt="x")
    event = token_event("a", Piece(index=0, seed=1, prompt_logprobs=[None, [candidate]]), call)
    assert event.prompt_logprobs == (None, {7: Logprob(-math.inf, 9, "x")})


def test_a_conversation_gives_the_same_bits(here: LocalSession, client: Client) -> None:
    asked: list[dict[str, Any]] = [
        {"seed": 1},
        {"seed": 2, "tools": [WEATHER]},
        {"seed": 3, "add_generation_prompt": False},
    ]
    for fields in asked:
        assert said(client.chat(STORY, max_tokens=12, **fields)[0]) == said(
            here.chat(STORY, max_tokens=12, **fields)[0]
        )


def test_many_prompts_come_back_in_their_order(here: LocalSession, client: Client) -> None:
    prompts = ["Once", [0, 789, 954], "What is", "", "Pip 🦊", *[f"{n} + {n}" for n in range(90)]]
    params = [SamplingParams(seed=n, max_tokens=1 + n % 5) for n in range(len(prompts))]
    local, remote = here.generate(prompts, params), client.generate(prompts, params)
    assert list(map(said, remote)) == list(map(said, local))
    assert [result.prompt for result in remote][:3] == ["Once", None, "What is"]


def test_many_conversations_too(here: LocalSession, client: Client) -> None:
    many = [QUESTION, STORY, QUESTION]
    assert list(map(said, client.chat(many, seed=4, max_tokens=5))) == list(
        map(said, here.chat(many, seed=4, max_tokens=5))
    )


def test_lone_surrogates_are_read_alike(here: LocalSession, client: Client) -> None:
    (local,), (remote,) = (session.generate("a\ud800b", seed=1, max_tokens=4) for session in (here, client))
    assert said(remote) == said(local)


def test_async_twins_have_the_same_bits(here: LocalSession, client: Client) -> None:
    async def all_of(session: Session) -> list[Any]:
        generated, chatted, vectors = await asyncio.gather(
            session.agenerate(["Once", "Twice"], seed=1, max_tokens=6),
            session.achat(STORY, SamplingParams(seed=2, max_tokens=6)),
            session.aembed(["a fox", "a hen"]),
        )
        events = [said(event) async for event in session.astream(STORY, seed=3, max_tokens=6)]
        return [*map(said, generated), *map(said, chatted), vectors.tobytes(), events]

    assert asyncio.run(all_of(client)) == asyncio.run(all_of(here))


def test_vectors_have_the_same_bits(here: LocalSession, client: Client) -> None:
    texts: list[Any] = ["a fox", [0, 789, 954], "a hen 🐔"]
    asked: list[dict[str, Any]] = [{}, {"normalize": False}, {"pooling": "mean"}]
    for options in asked:
        local, remote = here.embed(texts, **options), client.embed(texts, **options)
        assert remote.dtype == local.dtype == np.float32 and remote.tobytes() == local.tobytes()
    assert client.score("a fox", texts) == here.score("a fox", texts)


def test_tokens_and_templates_are_the_same(here: LocalSession, client: Client) -> None:
    for text in ("", "Pip 🦊 said", "a\ud800"):
        assert client.tokenize(text) == here.tokenize(text)
        assert client.tokenize(text, add_special_tokens=False) == here.tokenize(text, add_special_tokens=False)
    ids = here.tokenize("Once upon")
    for skip in (False, True):
        assert client.detokenize(ids, skip_special_tokens=skip) == here.detokenize(ids, skip_special_tokens=skip)
    assert client.render_chat(STORY, tools=[WEATHER]) == here.render_chat(STORY, tools=[WEATHER])


def test_a_result_says_what_it_was_made_from(here: LocalSession, session: Session) -> None:
    (result,) = session.generate("Once upon a time", temperature=0.5, max_tokens=4)
    assert result.params == SamplingParams(temperature=0.5, max_tokens=4) and result.params.seed is None
    assert result.fingerprint == here.fingerprint and result.origin is not None and result.origin.model == "demo"
    assert here.model in result.origin.model and result.origin.prompt_token_ids == tuple(result.prompt_token_ids)
    with pytest.raises(OriginError, match="put together by hand"):
        _ = GenerationResult("", None, [], []).params


def test_a_stream_s_first_event_says_it_too(session: Session) -> None:
    first, *rest = session.stream(STORY, seed=3, max_tokens=4)
    assert first.origin is not None and not any(event.origin for event in rest)
    assert first.origin.prompt == session.render_chat(STORY)
    assert list(first.origin.prompt_token_ids) == session.tokenize(first.origin.prompt or "", add_special_tokens=False)
    result = GenerationResult("", None, [], [CompletionOutput(0, 3)])
    for event in (first, *rest):
        result.add(event)
    assert said(result) == said(session.chat(STORY, seed=3, max_tokens=4)[0])


def test_a_drawn_token_has_its_probability_before_and_behind_sampling(session: Session) -> None:
    shared: dict[str, Any] = {"seed": 5, "top_k": 3, "temperature": 0.7, "logprobs": 3, "max_tokens": 8, "trace": 1}
    for mode in ("raw", "processed"):
        (result,) = session.generate("Once upon a time", logprobs_mode=mode, **shared)
        for token, stages in zip(result.tokens, result.outputs[0].traces or (), strict=True):
            assert token.raw_probability == pytest.approx(stages[0].drawn, rel=1e-5)
            assert token.processed_probability == pytest.approx(stages[-1].drawn, rel=1e-5)
            assert token.probability == (token.raw_probability if mode == "raw" else token.processed_probability)
    (greedy,) = session.generate("Once upon a time", temperature=0, logprobs=1, max_tokens=5)
    assert [token.processed_probability for token in greedy.tokens] == [1.0] * 5
    assert all(0 < (token.raw_probability or 0) < 1 and token.alternatives for token in greedy.tokens)
    (plain,) = session.generate("Once upon a time", seed=5, max_tokens=1)
    assert plain.tokens[0].raw_probability is None and plain.tokens[0].rank is None


CONTINUED: dict[str, dict[str, Any]] = {
    "drawn": {"seed": 11, "logprobs": 2, "trace": 1},
    "the third of several": {"seed": 12, "n": 3},
    "mirostat": {"seed": 17, "mirostat_mode": 2, "mirostat_tau": 3.0},
    "banned phrases": {"seed": 4, "banned_phrases": [" the", " was"]},
    "already over": {"seed": 11, "stop": "was"},
}


@pytest.mark.parametrize("sampling", CONTINUED.values(), ids=CONTINUED.keys())
def test_going_on_gives_the_same_bits(here: LocalSession, client: Client, sampling: dict[str, Any]) -> None:
    (whole,) = here.generate("Once upon a time", **sampling, max_tokens=12)
    last = whole.outputs[-1]
    begun = Continuation(tuple(last.token_ids[:7]), last.index)
    alone: dict[str, Any] = sampling | {"n": 1, "max_tokens": 12}
    (local,), (remote,) = (s.generate("Once upon a time", continuation=begun, **alone) for s in (here, client))
    assert said(remote) == said(local) and local.origin is not None and local.origin.continuation == begun
    assert (local.text, local.token_ids) == (last.text, last.token_ids)
    streams = (list(s.stream("Once upon a time", continuation=begun, **alone)) for s in (here, client))
    assert list(map(said, next(streams))) == list(map(said, next(streams)))
    talks = (s.chat(QUESTION, seed=1, max_tokens=4, continuation=Continuation((30,))) for s in (here, client))
    assert said(next(talks)[0]) == said(next(talks)[0])


def test_a_seed_that_was_chosen_gives_the_tokens_again(session: Session) -> None:
    (first,) = session.generate("Once upon a time", max_tokens=20)
    (again,) = session.generate("Once upon a time", max_tokens=20, seed=first.seed)
    assert again.token_ids == first.token_ids


def test_the_context_is_the_limit_where_none_is_given(session: Session) -> None:
    (result,) = session.generate([0] * 2040, max_tokens=None, ignore_eos=True, seed=1)
    assert (len(result.token_ids), result.outputs[0].finish_reason) == (8, "length")


def test_models_are_named(session: Session) -> None:
    assert [(model.id, model.max_model_len) for model in session.models()] == [("demo", 2048)]


# ---- the same errors

WRONG: dict[str, tuple[Callable[[Session], Any], type[Exception], str | None]] = {
    "out of range": (lambda s: s.generate("a", temperature=-1), ParameterError, "temperature"),
    "unknown": (lambda s: s.generate("a", temprature=1), ParameterError, "temprature"),
    "unknown, with parameters": (lambda s: s.generate("a", SamplingParams(), colour=1), ParameterError, "colour"),
    "unknown, in a stream": (lambda s: list(s.stream("a", tools=[])), ParameterError, "tools"),
    "no prompts": (lambda s: s.generate([]), ParameterError, "prompts"),
    "not a prompt": (lambda s: s.generate({"a": 1}), ParameterError, "prompts"),  # type: ignore[arg-type]
    "not an id": (lambda s: s.generate([[0, -1]]), ParameterError, None),
    "not in the vocabulary": (lambda s: s.generate([[0, 10**6]]), ParameterError, "prompt[1]"),
    "stop id not in the vocabulary": (
        lambda s: s.generate("a", stop_token_ids=[10**6]), ParameterError, "stop_token_ids",
    ),
    "parameters of another number": (
        lambda s: s.generate(["a", "b"], [SamplingParams()]), ParameterError, "sampling_params",
    ),
    "parameters of another kind": (lambda s: s.generate("a", {"n": 1}), ParameterError, "sampling_params"),  # type: ignore[arg-type]
    "going on with several": (lambda s: s.generate("a", n=2, continuation=Continuation((5,))), ParameterError, "n"),
    "going on with what is no token": (
        lambda s: s.generate("a", continuation=Continuation((5, 10**6))), ParameterError, "continuation.token_ids[1]",
    ),
    "going on at an index": (
        lambda s: s.generate("a", continuation=Continuation((5,), 256)), ParameterError, "continuation.index",
    ),
    "one of many is too long": (lambda s: s.generate(["a", [0] * 2048]), ContextOverflowError, None),
    "too long": (lambda s: s.generate([0] * 2048), ContextOverflowError, None),
    "a stream too long": (lambda s: list(s.stream([0] * 2048)), ContextOverflowError, None),
    "a conversation too long": (
        lambda s: s.chat([{"role": "user", "content": "fox " * 3000}]), ContextOverflowError, None,
    ),
    "a role nobody has": (lambda s: s.chat([{"role": "king", "content": "a"}]), ChatTemplateError, None),
    "no messages": (lambda s: s.chat([]), ChatTemplateError, None),
    "messages of another kind": (lambda s: s.chat("hello"), ChatTemplateError, None),  # type: ignore[arg-type]
    "rendered": (lambda s: s.render_chat([{"role": "king", "content": "a"}]), ChatTemplateError, None),
    "a vector too long": (lambda s: s.embed([[0] * 2049]), ContextOverflowError, None),
    "a pooling nobody knows": (lambda s: s.embed("a", pooling="max"), ParameterError, "pooling"),  # type: ignore[arg-type]
    "tokenize": (lambda s: s.tokenize(7), ParameterError, "text"),  # type: ignore[arg-type]
    "detokenize": (lambda s: s.detokenize([0, 10**6]), ParameterError, None),
    "detokenize text": (lambda s: s.detokenize("abc"), ParameterError, "token_ids"),  # type: ignore[arg-type]
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_bad_input_raises_the_same(session: Session, wrong: tuple[Any, type[Exception], str | None]) -> None:
    call, kind, field = wrong
    with pytest.raises(kind) as caught:
        call(session)
    if field is not None:
        assert getattr(caught.value, "field", None) == field
    if isinstance(caught.value, ContextOverflowError):
        assert caught.value.max_model_len == 2048 and caught.value.num_tokens > 2047
    assert session.generate("Once", max_tokens=1)[0].finished  # and the session lives


def test_the_words_are_the_same_too(here: LocalSession, client: Client) -> None:
    messages = []
    for session in (here, client):
        with pytest.raises(ParameterError) as caught:
            session.generate("a", stop_token_ids=[10**6])
        messages.append((str(caught.value), caught.value.allowed))
    assert messages[0] == messages[1]


# ---- interrupts, loops, ends


def running_now(service: Running) -> int:
    with service.client(headers=service.admin) as http:
        stats = http.get("/admin/status").json()["models"][0]["stats"]
    return stats["running"] + stats["waiting"]


def busy(session: Session, service: Running) -> int:
    if isinstance(session, LocalSession):
        return session.stats().running + session.stats().waiting
    return running_now(service)


@pytest.mark.parametrize("how", ["generate", "many", "stream"])
def test_an_interrupt_aborts(session: Session, service: Running, how: str) -> None:
    """As Ctrl-C in a terminal, or the stop button of a notebook."""

    def interrupt() -> None:
        wait_for(lambda: busy(session, service), 20)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        if how == "generate":
            session.generate("Once", **ENDLESS)
        elif how == "many":
            session.generate(["Once"] * 100, **ENDLESS)
        else:
            for _ in session.stream("Once", **ENDLESS):
                pass
    thread.join()
    wait_for(lambda: busy(session, service) == 0, 10)
    assert session.chat(QUESTION, temperature=0)[0].text == "87"


def drop(session: Session) -> None:
    stream = session.stream("Once", **ENDLESS)
    next(stream)
    del stream


def cancel(session: Session) -> None:
    async def main() -> None:
        task = asyncio.ensure_future(session.agenerate(["Once", "Twice"], **ENDLESS))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def break_off(session: Session) -> None:
    async def main() -> None:
        stream = session.astream("Once", **ENDLESS)
        async for _ in stream:
            break
        await stream.aclose()

    asyncio.run(main())


def fail(session: Session) -> None:
    with pytest.raises(ContextOverflowError):
        session.generate(["Once", "Twice", [0] * 2048], **ENDLESS)


@pytest.mark.parametrize("let_go", [drop, cancel, break_off, fail])
def test_what_is_let_go_is_aborted_in_the_engine(
    session: Session, service: Running, let_go: Callable[[Session], None]
) -> None:
    let_go(session)
    wait_for(lambda: busy(session, service) == 0, 10)


def test_synchronous_calls_work_inside_a_running_event_loop(session: Session) -> None:
    async def cell() -> str:
        text = session.chat(QUESTION, temperature=0)[0].text
        assert "".join(event.text for event in session.stream(QUESTION, temperature=0)) == text
        session.embed("a")
        return text

    assert asyncio.run(cell()) == "87"


def test_async_twins_leave_the_loop_free(session: Session) -> None:
    async def main() -> int:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.001)
                ticks += 1

        ticking = asyncio.create_task(tick())
        await session.agenerate("Once", ignore_eos=True, max_tokens=100)
        ticking.cancel()
        return ticks

    assert asyncio.run(main()) >= 3


def test_many_threads_share_a_session(session: Session) -> None:
    texts: list[str] = []
    threads = [
        threading.Thread(target=lambda: texts.append(session.chat(QUESTION, temperature=0)[0].text)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == ["87"] * 8


def open_here(service: Running) -> Session:
    return connect("demo", kv_cache_memory=2**24)


def open_there(service: Running) -> Session:
    return connect(service.url)


@pytest.mark.parametrize("open_session", [open_here, open_there])
def test_a_closed_session_says_so(service: Running, open_session: Callable[[Running], Session]) -> None:
    with open_session(service) as session:
        assert session.generate("Once", max_tokens=1)[0].finished
    session.close()
    with pytest.raises(EngineClosedError, match="was closed"):
        session.generate("Once", max_tokens=1)


# ---- connect()


@pytest.fixture
def runtime_of(service: Running, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setenv("APHRODITE_RUNTIME_DIR", str(service.home / "run"))
    yield service


def test_connect_finds_the_service_of_this_machine(runtime_of: Running) -> None:
    with aphrodite.connect() as session:
        assert isinstance(session, Client) and session.url == runtime_of.url
        assert session.chat(QUESTION, temperature=0)[0].text == "87"
        assert session.status()["models"][0]["id"] == "demo"  # with the owner's key, which is not shown
        assert runtime_of.connection.admin_key not in repr(session) + repr(vars(session))


def test_connect_says_what_to_do_where_no_service_runs(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APHRODITE_RUNTIME_DIR", str(tmp_path))
    with pytest.raises(NoService, match="aphrodite up"):
        connect()


def test_connect_with_settings_of_the_wrong_kind() -> None:
    with pytest.raises(ParameterError, match="api_key"):
        connect("demo", api_key="sk-secret")
    with pytest.raises(TypeError, match="max_model_len"):
        connect("http://127.0.0.1:9", max_model_len=7)
    with pytest.raises(ParameterError, match="max_model_length"):
        connect("demo", max_model_length=7)


def test_a_pause_between_calls_outlives_a_kept_connection(client: Client) -> None:
    client.version()
    time.sleep(0.1)
    assert client.version() == aphrodite.__version__
