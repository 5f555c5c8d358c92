"""Steps launched before the tokens of the last one are read: the same tokens, whoever comes, goes or is pushed out
meanwhile. On the CPU a launch computes at once; what is tested is who is in which step, and with which token."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aphrodite_engine.errors import ModelError
from aphrodite_engine.llm import LLM
from aphrodite_engine.outputs import TokenEvent
from aphrodite_engine.params import SamplingParams
from aphrodite_engine.request import Request
from tests.engine.inside import all_blocks_free, engine_of, replay_steps
from tests.engine.tiny import EOS

BLOCK_BYTES = 16 * 2 * 2 * 2 * 16 * 4  # of the tiny model in float32
CHECKED = settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])


@dataclass
class Script:
    """An engine stepped by hand, which its own thread leaves alone as long as nothing is submitted.

    Attributes:
        events: of each request, in order.
        launched_behind: steps that were launched before the one in front of them was read.
    """

    llm: LLM
    events: dict[str, list[TokenEvent]] = field(default_factory=dict)
    launched_behind: int = 0

    def add(self, prompt: list[int], **fields: Any) -> Request:
        request = self.llm.admit(prompt, SamplingParams(**({"seed": 1, "ignore_eos": True} | fields)))
        self.events[request.request_id] = []
        self._note(engine_of(self.llm).add(request))
        return request

    def abort(self, request: Request) -> None:
        self._note(engine_of(self.llm).abort(request.request_id))

    def step(self, times: int = 1) -> None:
        for _ in range(times):
            self._note(engine_of(self.llm).step())
            self.launched_behind += engine_of(self.llm)._flights._front is not None

    def finish(self) -> None:
        while engine_of(self.llm).has_work:
            self.step()
        assert all_blocks_free(self.llm)
        assert engine_of(self.llm)._flights._front is None, "nobody waits for what is in the air"

    def tokens(self, request: Request, index: int = 0) -> list[int]:
        events = self.events[request.request_id]
        return [token_id for event in events if event.index == index for token_id in event.token_ids]

    def last(self, request: Request) -> TokenEvent:
        return self.events[request.request_id][-1]

    def _note(self, events: list[TokenEvent]) -> None:
        for event in events:
            self.events[event.request_id].append(event)


@pytest.fixture(scope="module")
def plain(tiny_folder: Path) -> Iterator[LLM]:
    with LLM(tiny_folder, enable_prefix_caching=False, max_model_len=128) as llm:
        yield llm


@pytest.fixture(scope="module")
def ahead(tiny_folder: Path) -> Iterator[LLM]:
    with LLM(tiny_folder, run_ahead=True, max_model_len=128) as llm:
        yield llm


@pytest.fixture(scope="module")
def tight(tiny_folder: Path) -> Iterator[LLM]:
    """Nine blocks of cache and short steps: prompts come in chunks, and sequences push each other out."""
    with LLM(
        tiny_folder, run_ahead=True, max_model_len=128, kv_cache_memory=9 * BLOCK_BYTES, max_num_batched_tokens=11
    ) as llm:
        yield llm


def alone(plain: LLM, request: Request) -> list[list[int]]:
    result = plain.generate([list(request.prompt_token_ids)], request.params)[0]
    return [list(output.token_ids) for output in result.outputs]


def test_a_single_sequence_is_one_step_ahead_all_the_way(plain: LLM, ahead: LLM) -> None:
    script = Script(ahead)
    request = script.add([1, 2, 3], max_tokens=20, temperature=0.8)
    script.finish()
    assert [script.tokens(request)] == alone(plain, request)
    assert script.launched_behind == 19, "no step is launched behind the last token, which is known to be the last"
    assert [len(event.token_ids) for event in script.events[request.request_id]] == [1] * 20


def test_who_comes_while_a_step_is_in_the_air_runs_in_the_next(plain: LLM, ahead: LLM) -> None:
    script = Script(ahead)
    requests = [script.add([1, 2, 3], max_tokens=30)]
    for row in range(5):
        script.step(2)
        requests.append(script.add([row] * (7 * row + 1), max_tokens=9 + row, seed=row, n=1 + row % 2, top_k=40))
    before = script.launched_behind
    script.finish()
    assert script.launched_behind - before > 10
    for request in requests:
        assert [script.tokens(request, index) for index in range(request.params.n)] == alone(plain, request)


def test_a_sequence_that_ends_in_the_air_leaves_no_trace(plain: LLM, ahead: LLM) -> None:
    """By a stop string, a stop id, EOS, and where somebody goes away; a neighbour goes on."""
    script = Script(ahead)
    stays = script.add([9, 9], max_tokens=40, temperature=1.3)
    free = alone(plain, stays)[0]
    script.abort(stays)
    stays = script.add([9, 9], max_tokens=40, temperature=1.3)
    by_id = script.add([9, 9], max_tokens=40, temperature=1.3, stop_token_ids=[free[5]])
    by_text = script.add([9, 9], max_tokens=40, temperature=1.3, stop=[ahead.detokenize(free[:8])[-2:]])
    by_eos = script.add([4], max_tokens=40, ignore_eos=False, temperature=5.0, top_k=0, seed=3)
    goes = script.add([8, 8, 8], max_tokens=40)
    script.step(7)
    script.abort(goes)
    script.finish()
    assert script.tokens(stays) == free
    assert script.last(by_id).stop_reason == free[5]
    assert script.last(by_text).finish_reason == "stop"
    for request in (by_id, by_text, by_eos):
        assert [script.tokens(request)] == alone(plain, request)
    assert script.last(goes).finish_reason == "abort"
    assert script.tokens(goes) == alone(plain, goes)[0][: len(script.tokens(goes))]
    assert script.launched_behind > 30


def test_the_context_may_be_filled_to_the_last_token(plain: LLM, ahead: LLM) -> None:
    script = Script(ahead)
    request = script.add([1] * 100, max_tokens=None)
    script.finish()
    assert [script.tokens(request)] == alone(plain, request)
    assert len(script.tokens(request)) == 28


def test_nobody_is_pushed_out_for_a_step_ahead(plain: LLM, tight: LLM) -> None:
    before = engine_of(tight).scheduler.num_preemptions
    script = Script(tight)
    requests = [script.add([row] * 20, max_tokens=30, seed=row, temperature=1.2) for row in range(5)]
    script.finish()
    for request in requests:
        assert [script.tokens(request)] == alone(plain, request)
    assert engine_of(tight).scheduler.num_preemptions > before, "but for a step behind one that was read"
    assert script.launched_behind > 20


def test_a_finished_sequence_leaves_the_same_prefix_behind(tiny_folder: Path) -> None:
    """The hash of its last block is known only when its last token is read."""
    found = []
    for run_ahead in (False, True):
        with LLM(tiny_folder, run_ahead=run_ahead) as llm:
            first = llm.generate([[5] * 20], SamplingParams(max_tokens=13, seed=1, ignore_eos=True))[0]
            again = llm.generate([[5] * 20 + list(first.outputs[0].token_ids)], SamplingParams(max_tokens=1))[0]
            found.append(again.num_cached_tokens)
    assert found == [32, 32]


def test_a_draw_that_needs_the_host_waits_for_it(plain: LLM, ahead: LLM) -> None:
    script = Script(ahead)
    for fields in ({"logprobs": 0}, {"repetition_penalty": 1.2}, {"min_tokens": 50}, {"dry_multiplier": 1.0}):
        request = script.add([3, 4], max_tokens=50, **fields)
        neighbour = script.add([3, 4], max_tokens=30)
        script.finish()
        assert script.launched_behind == 0
        assert [script.tokens(request), script.tokens(neighbour)] == [*alone(plain, request), *alone(plain, neighbour)]


# ---- failures


def test_where_a_step_ahead_fails_the_one_in_front_of_it_is_still_told(
    ahead: LLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, engine = Script(ahead), engine_of(ahead)
    whole = script.add([1, 2, 3], max_tokens=3)
    script.finish()
    ends, fails = script.add([1, 2, 3], max_tokens=3), script.add([4, 5], max_tokens=20)
    script.step(2)
    forward, error = engine.runner.model.forward, RuntimeError("no memory left")
    monkeypatch.setattr(engine.runner.model, "forward", _raising(error))
    with pytest.raises(RuntimeError):
        script.step()  # launched behind the last token of one of them, so without it
    script._note(engine.fail_step(error))
    monkeypatch.setattr(engine.runner.model, "forward", forward)
    assert script.last(fails).error is error
    script.finish()
    assert script.tokens(ends) == script.tokens(whole)


def _raising(error: Exception) -> Any:
    def forward(*_: Any) -> torch.Tensor:
        raise error

    return forward


def test_a_row_without_a_possible_token_ends_its_request_only(
    plain: LLM, ahead: LLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, model = Script(ahead), engine_of(ahead).runner.model
    fails, stays = script.add([1, 2], max_tokens=9), script.add([3, 4], max_tokens=9)
    script.step(2)
    logits = model.logits

    def broken(hidden: torch.Tensor) -> torch.Tensor:
        found = logits(hidden)
        if len(found) == 2:
            found[0] = torch.nan
        return found

    monkeypatch.setattr(model, "logits", broken)
    script.finish()
    assert isinstance(script.last(fails).error, ModelError)
    assert [script.tokens(stays)] == alone(plain, stays)


# ---- everything at once


@st.composite
def parties(draw: st.DrawFn) -> list[tuple[int, dict[str, Any], int | None]]:
    """Requests: at which step each comes, what it asks for, and after how many steps it goes away."""
    comes = sorted(draw(st.lists(st.integers(0, 12), min_size=2, max_size=6)))
    return [(step, draw(wishes()), draw(st.sampled_from([None, None, 3, 9]))) for step in comes]


def wishes() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "prompt": st.lists(st.integers(0, 250), min_size=1, max_size=5).map(lambda own: [7] * 33 + own)
            | st.lists(st.integers(0, 250), min_size=1, max_size=30),
            "n": st.sampled_from([1, 1, 2]),
            "seed": st.integers(0, 3),
            "temperature": st.sampled_from([0.0, 0.7, 1.5, 3.0]),
            "top_p": st.sampled_from([1.0, 0.8]),
            "min_p": st.sampled_from([0.0, 0.1]),
            "max_tokens": st.integers(1, 25),
            "ignore_eos": st.booleans(),
            "stop": st.sampled_from([None, "a", ["e", "zz"]]),
            "stop_token_ids": st.sampled_from([[], list(range(0, EOS, 40))]),
            "logprobs": st.sampled_from([None] * 9 + [1]),
        }
    )


@pytest.mark.parametrize("graphs", [False, True])
@pytest.mark.parametrize("small", [False, True])
def test_any_party_gets_what_each_gets_alone(
    plain: LLM, ahead: LLM, tight: LLM, monkeypatch: pytest.MonkeyPatch, small: bool, graphs: bool
) -> None:
    behind = 0
    if graphs:
        replay_steps(monkeypatch, tight if small else ahead)

    @given(parties())
    @CHECKED
    def check(party: list[tuple[int, dict[str, Any], int | None]]) -> None:
        nonlocal behind
        script, came = Script(tight if small else ahead), []
        leaving: dict[int, list[Request]] = {}
        for step in range(30):
            for _, wish, stays in (one for one in party if one[0] == step):
                came.append(script.add(wish["prompt"], **{name: wish[name] for name in wish if name != "prompt"}))
                leaving.setdefault(step + stays if stays else -1, []).append(came[-1])
            for request in leaving.get(step, ()):
                script.abort(request)
            script.step()
        script.finish()
        behind += script.launched_behind
        for request in came:
            for index, whole in enumerate(alone(plain, request)):
                left = any(event.finish_reason == "abort" for event in script.events[request.request_id])
                found = script.tokens(request, index)
                assert found == (whole[: len(found)] if left else whole)

    check()
    assert behind > 50
    decoded = engine_of(tight if small else ahead).runner.graphs
    assert (decoded is not None and len(decoded.captured) > 2) == graphs
