"""Rows and logits for the sampler's tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from aphrodite_engine.params import SamplingParams
from aphrodite_engine.sampling.history import TokenHistory
from aphrodite_engine.sampling.row import SamplerRow
from aphrodite_engine.sampling.steps import uses_history, uses_suffixes
from aphrodite_engine.sampling.suffixes import SuffixMatches

CPU = torch.device("cpu")


def make_row(
    params: SamplingParams | None = None,
    *,
    vocab: int = 16,
    prompt: Sequence[int] = (0,),
    output: Sequence[int] = (),
    index: int = 0,
    position: int | None = None,
    ends: tuple[int, ...] = (),
    breakers: Sequence[int] | None = None,
    bad_words: tuple[tuple[int, ...], ...] = (),
    feedback: tuple[float, ...] | None = None,
    **fields: Any,
) -> SamplerRow:
    """A row that drew `output` after `prompt`, with params given whole or by field."""
    params = params or SamplingParams(**fields)
    return SamplerRow(
        params=params,
        seed=params.seed or 0,
        sequence_index=index,
        position=len(prompt) + len(output) if position is None else position,
        token_ids=[*prompt, *output],
        num_output=len(output),
        banned_until_min=ends,
        history=TokenHistory(vocab, prompt, output, CPU) if uses_history(params) else None,
        suffixes=SuffixMatches([*prompt, *output]) if uses_suffixes(params) else None,
        breakers=None if breakers is None else np.isin(np.arange(vocab), breakers),
        bad_words=bad_words,
        feedback=feedback,
    )


@st.composite
def logit_rows(draw: st.DrawFn, rows: int | None = None, vocab: int | None = None) -> torch.Tensor:
    """(R, V) float32 logits: peaked or flat, with or without ties, with or without impossible tokens."""
    rows = rows or draw(st.integers(1, 6))
    vocab = vocab or draw(st.sampled_from([1, 2, 17, 300, 3000]))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    scale = draw(st.sampled_from([0.001, 0.3, 1.0, 4.0, 30.0]))
    logits = generator.normal(0, scale, (rows, vocab))
    if draw(st.booleans()):
        logits = np.round(logits * 2) / 2
    if draw(st.booleans()):
        logits[generator.random((rows, vocab)) < 0.5] = -np.inf
        logits[np.arange(rows), generator.integers(0, vocab, rows)] = 0.25
    return torch.from_numpy(logits.astype(np.float32))


def softmax64(logits: torch.Tensor) -> np.ndarray:
    """Softmax of each row in float64."""
    values = logits.double().numpy()
    weights = np.exp(values - values.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)
