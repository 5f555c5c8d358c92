"""Hypothesis strategies that several files of the engine's tests share."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from aphrodite_engine.params import DEFAULT_SAMPLER_ORDER, SamplingParams

#: A step may come twice.
_ORDERS = st.one_of(
    st.none(),
    st.lists(st.sampled_from([*DEFAULT_SAMPLER_ORDER] * 2), min_size=1, max_size=7).map(
        lambda order: [name for place, name in enumerate(order) if order[:place].count(name) < 2]
    ),
)


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
        "dry_sequence_breakers": st.just([]),  # most of these models have no tokenizer that would know one
        "seed": st.one_of(st.integers(0, 2**63 - 1), st.integers(0, 3)),
    }
    rarer = {name: values for name, values in _RARER.items() if name not in fixed}
    return st.one_of(
        st.fixed_dictionaries(fields | {name: st.just(value) for name, value in fixed.items()}, optional=rarer),
        st.fixed_dictionaries(_ALONE | {name: st.just(value) for name, value in fixed.items()}),
    ).map(_possible)


#: Steps that most requests leave alone.
_RARER: dict[str, st.SearchStrategy[Any]] = {
    "dynatemp_max": st.sampled_from([0.0, 1.5]),
    "dynatemp_exponent": st.sampled_from([0.5, 1.0, 3.0]),
    "top_a": st.sampled_from([0.0, 0.2, 5.0]),
    "top_n_sigma": st.sampled_from([0.0, 0.5, 2.0]),
    "tfs": st.sampled_from([1.0, 0.95, 0.3]),
    "typical_p": st.sampled_from([1.0, 0.9, 0.2]),
    "eta_cutoff": st.sampled_from([0.0, 3.0, 5000.0]),
    "epsilon_cutoff": st.sampled_from([0.0, 3.0, 5000.0]),
    "smoothing_factor": st.sampled_from([0.0, 0.2, 3.0]),
    "smoothing_curve": st.sampled_from([1.0, 2.0, 5.0]),
    "xtc_threshold": st.sampled_from([0.0, 0.05, 0.6]),
    "xtc_probability": st.sampled_from([0.0, 0.5, 1.0]),
    "skew": st.sampled_from([0.0, 0.7, -2.0]),
    "adaptive_target": st.sampled_from([None, 0.0, 0.3, 1.0]),
    "adaptive_decay": st.sampled_from([0.0, 0.9]),
    "no_repeat_ngram_size": st.sampled_from([0, 1, 2, 3]),
    "dry_multiplier": st.sampled_from([0.0, 0.8, 100.0]),
    "dry_base": st.sampled_from([1.0, 1.75]),
    "dry_allowed_length": st.sampled_from([1, 2]),
    "dry_range": st.sampled_from([0, 3, 100]),
}
#: Mirostat takes the place of all steps.
_ALONE: dict[str, st.SearchStrategy[Any]] = {
    "mirostat_mode": st.just(2),
    "mirostat_tau": st.sampled_from([0.5, 3.0]),
    "mirostat_eta": st.sampled_from([0.1, 1.0]),
    "logprobs": st.sampled_from([None, 2]),
    "logprobs_mode": st.sampled_from(["raw", "processed"]),
    "seed": st.integers(0, 3),
}


def _possible(fields: dict[str, Any]) -> SamplingParams:
    """Without what may not stand together."""
    if fields.get("dynatemp_max"):
        fields = fields | {"temperature": 1.0}
    if fields.get("temperature") == 0:
        fields = fields | {"adaptive_target": None}
    return SamplingParams.from_fields(fields)
