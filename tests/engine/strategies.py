"""Hypothesis strategies that several files of the engine's tests share."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from aphrodite_engine.params import DEFAULT_SAMPLER_ORDER, SamplingParams

_ORDERS = st.one_of(st.none(), st.lists(st.sampled_from(DEFAULT_SAMPLER_ORDER), max_size=7))


def sampling_params(vocab: int, **fixed: Any) -> st.SearchStrategy[SamplingParams]:
    """Requests of every kind over ids below `vocab`; `fixed` fields keep their values."""
    ids = st.integers(0, vocab - 1)
    fields: dict[str, st.SearchStrategy[Any]] = {
        "temperature": st.sampled_from([1.0, 0.0, 0.3, 0.8, 1.9]),
        "top_k": st.sampled_from([0, -1, 1, 5, 40, 10**6]),
        "top_p": st.sampled_from([1.0, 1.0, 0.9, 0.5, 0.01]),
        "min_p": st.sampled_from([0.0, 0.0, 0.02, 0.5, 1.0]),
        "repetition_penalty": st.sampled_from([1.0, 1.0, 1.3, 0.8]),
        "frequency_penalty": st.sampled_from([0.0, 0.0, 0.7, -0.4]),
        "presence_penalty": st.sampled_from([0.0, 0.0, 0.5, -1.5]),
        "logit_bias": st.one_of(st.none(), st.dictionaries(ids, st.floats(-100, 100), max_size=4)),
        "allowed_token_ids": st.one_of(st.none(), st.none(), st.lists(ids, min_size=1, max_size=30)),
        "logprobs": st.sampled_from([None, 0, 1, 3, 20]),
        "logprobs_mode": st.sampled_from(["raw", "processed"]),
        "sampler_order": _ORDERS,
        "temperature_last": st.booleans(),
        "seed": st.one_of(st.integers(0, 2**63 - 1), st.integers(0, 3)),
    }
    return st.fixed_dictionaries(fields | {name: st.just(value) for name, value in fixed.items()}).map(
        SamplingParams.from_fields
    )
