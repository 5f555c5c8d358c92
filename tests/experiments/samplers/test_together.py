"""The mixed batch: it asks for everything, and a difference would be found."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path

import pytest

from aphrodite_engine.outputs import CompletionOutput
from aphrodite_engine.params import DEFAULT_SAMPLER_ORDER
from aphrodite_engine.sampling.pipeline import plan_of
from experiments.samplers import together
from experiments.samplers.mixed import batch, shuffled

STORED = Path(together.__file__).parent / "results" / "together.json"


def test_the_batch_asks_for_every_sampler_and_most_requests_for_a_plan_of_their_own() -> None:
    plans = [plan_of(ask.params) for ask in batch()]
    steps = {step for plan in plans for step in plan.steps}
    assert set(DEFAULT_SAMPLER_ORDER) | {"dynamic_temperature"} == steps
    assert {plan.feedback for plan in plans} == {None, "mirostat", "adaptive_p"}
    assert len(plans) >= 64 and len(set(plans)) > len(plans) / 2
    assert sum(ask.params.structured_outputs is not None for ask in batch()) >= 6
    assert sorted(shuffled(len(plans))) == list(range(len(plans))) != shuffled(len(plans))


def test_the_stored_table_is_of_this_batch_and_told() -> None:
    found = [together.Found(**one) for one in json.loads(STORED.read_text())]
    assert {one.requests for one in found} == {len(batch())} and len(found) == 8
    assert not any(one.different for one in found)
    assert together.table(found) in together.README.read_text()


@pytest.mark.slow
def test_a_part_of_the_batch_gives_the_same_alone_together_and_shuffled() -> None:
    asks = batch()[::4]
    alone = together.one_by_one(asks)
    for way in (together.together(), together.in_another_order, together.together(max_num_batched_tokens=7)):
        assert not together.compare("some way", way, asks, alone).different


def test_what_differs_is_named() -> None:
    asks = batch()[:3]
    expected = [[CompletionOutput(0, 1, "a b", [5, 6])], [CompletionOutput(0, 2)], [CompletionOutput(0, 3, "c", [7])]]
    otherwise = [expected[0], expected[1], [CompletionOutput(0, 3, "c", [8])]]
    assert together.compare("other", lambda _: otherwise, asks, expected).different == [asks[2].what]
    assert together.compare("same", lambda _: deepcopy(expected), asks, expected).different == []
