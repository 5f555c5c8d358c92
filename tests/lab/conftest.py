"""The bundled model, and frames of what it said: figures are made from real numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd
import pytest

from aphrodite.display.generation import Generation
from aphrodite.local import LocalSession
from aphrodite_engine.asking.next_token import NextToken
from aphrodite_engine.inside.lens import Lens
from aphrodite_engine.params import SamplingParams

START = "Once upon a time, there was a little"
PARAMS = SamplingParams(
    temperature=1.3, repetition_penalty=1.2, top_k=60, top_p=0.97, xtc_probability=1, xtc_threshold=0.04, seed=5,
    max_tokens=40, logprobs=5, trace=10,
)  # fmt: skip


@pytest.fixture(scope="session")
def demo() -> Iterator[LocalSession]:
    with LocalSession("demo", kv_cache_memory=2**26) as session:
        yield session


@dataclass(frozen=True)
class Measured:
    """What was asked of the model, once for all tests."""

    next: NextToken
    drawn: Generation
    tokens: pd.DataFrame
    scores: pd.DataFrame
    surprise: pd.DataFrame
    layers: pd.DataFrame


@pytest.fixture(scope="session")
def measured(demo: LocalSession) -> Measured:
    drawn = Generation(demo.generate(START, PARAMS)[0], "demo", {})
    trace = drawn.result.outputs[0].traces or []
    return Measured(
        next=demo.next_token(START, PARAMS, top=10),
        drawn=drawn,
        tokens=drawn.tokens_df.assign(
            raw_probability=[stages[0].drawn for stages in trace],
            processed_probability=[stages[-1].drawn for stages in trace],
        ),
        scores=demo.score(START, continuations=[" girl", " boy", " fox who lived", "\nbear <b>"]).df,
        surprise=demo.perplexity("Once upon a time there was a little fox. " * 12).df,
        layers=_lens(demo),
    )


def _lens(demo: LocalSession) -> pd.DataFrame:
    found = demo.lens(START, top=2)
    assert isinstance(found, Lens)
    return found.df
