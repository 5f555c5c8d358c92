"""Constraints together, and with every way of sampling: each keeps its promise whatever stands beside it."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aphrodite_engine.constraints.phrases import folded
from aphrodite_engine.errors import ParameterError
from aphrodite_engine.llm import LLM
from aphrodite_engine.outputs import CompletionOutput
from aphrodite_engine.params import DEFAULT_SAMPLER_ORDER, SamplingParams
from tests.engine.inside import all_blocks_free
from tests.engine.strategies import sampling_params
from tests.engine.test_grammar import FOLLOWED, SCHEMAS, follows

pytestmark = pytest.mark.slow

CHECKED = settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
VOCAB = 4096
PROMPT = "Once upon a time"
#: What may be refused while it runs, since all of it together leaves nothing.
MAY_LEAVE_NOTHING = {"banned_phrases", "bad_words", "structured_outputs"}
PHRASES = st.sampled_from([[], ["the", "was"], ["e", "1"], ["ab", '":', "blue"], ["\n", " a"]])


@st.composite
def requests(draw: st.DrawFn) -> SamplingParams:
    """Everything at once."""
    fixed = {
        "allowed_token_ids": None,
        "max_tokens": draw(st.integers(1, 24)),
        "n": draw(st.sampled_from([1, 2])),
        "stop": draw(st.sampled_from([None, ["and", "3"]])),
        "bad_words": draw(st.sampled_from([(), ("there", "a", "0")])),
        "banned_phrases": draw(PHRASES),
        "repetition_detection": draw(st.sampled_from([None, {"max_pattern_size": 2, "min_count": 4}])),
        "structured_outputs": draw(st.sampled_from([None, None, *FOLLOWED])),
        "trace": draw(st.sampled_from([None, 3])),
    }
    return draw(sampling_params(VOCAB, **fixed))


@given(params=requests(), other=requests())
@CHECKED
def test_each_keeps_its_promise_beside_the_others(demo: LLM, params: SamplingParams, other: SamplingParams) -> None:
    try:
        result = demo.generate(PROMPT, params)[0]
    except ParameterError as error:
        assert error.field in MAY_LEAVE_NOTHING
        return
    for output in result.outputs:
        check_text(output, params)
        check_reports(output, params)
    try:
        together = demo.generate([PROMPT, PROMPT], [other, params])[1]
    except ParameterError:
        return  # the neighbour's own
    assert together.outputs == result.outputs


def check_text(output: CompletionOutput, params: SamplingParams) -> None:
    assert not any(folded(phrase) in folded(output.text) for phrase in params.banned_phrases)
    assert len(output.token_ids) <= (params.max_tokens or 0)
    asked = params.structured_outputs
    whole = output.finish_reason == "stop" and output.stop_reason is None
    if asked is not None and whole:
        assert follows(dict(asked), output.text)
    if output.finish_reason == "length":
        assert len(output.token_ids) == params.max_tokens
    assert output.finish_reason != "repetition" or params.repetition_detection


def check_reports(output: CompletionOutput, params: SamplingParams) -> None:
    count = len(output.token_ids)
    assert output.logprobs is None if params.logprobs is None else len(output.logprobs or ()) == count
    assert output.traces is None if params.trace is None else len(output.traces or ()) == count
    for stages in output.traces or ():
        assert stages[-1].drawn > 0, "the last stage is what the token was drawn from"


# ---- JSON


#: Samplers as people turn them up, one a kind.
HOT: list[dict[str, Any]] = [
    {},
    {"temperature": 0},
    {"temperature": 3.0},
    {"temperature": 50.0, "top_k": 200},
    {"dynatemp_max": 4.0, "skew": 3.0},
    {"xtc_probability": 1.0, "xtc_threshold": 0.0},
    {"mirostat_mode": 2, "mirostat_tau": 9.0},
    {"adaptive_target": 0.05, "temperature": 1.5},
    {"dry_multiplier": 5.0, "no_repeat_ngram_size": 2, "repetition_penalty": 1.5},
    {"min_tokens": 30},
    {"ignore_eos": True, "temperature": 2.0},
    {"banned_phrases": ["the", "zz", "7"], "temperature": 2.0},
]


@given(schema=st.sampled_from(SCHEMAS), hot=st.sampled_from(HOT), seed=st.integers(0, 10**6), limit=st.integers(1, 80))
@settings(CHECKED, max_examples=60)
def test_json_that_ended_is_whole_and_valid_and_what_was_cut_says_so(
    demo: LLM, schema: dict[str, Any], hot: dict[str, Any], seed: int, limit: int
) -> None:
    fields = {"seed": seed, "max_tokens": max(limit, hot.get("min_tokens", 0)), "structured_outputs": {"json": schema}}
    try:
        (output,) = demo.generate("Fill in: ", SamplingParams.from_fields(fields | hot))[0].outputs
    except ParameterError as error:
        assert error.field == "banned_phrases" and "banned_phrases" in hot
        return
    assert output.finish_reason in ("stop", "length")
    if output.finish_reason == "stop":
        jsonschema.validate(json.loads(output.text), schema)
    else:
        assert len(output.token_ids) == fields["max_tokens"]


@pytest.mark.parametrize("step", DEFAULT_SAMPLER_ORDER)
def test_every_step_alone_leaves_constraints_alone(demo: LLM, step: str) -> None:
    strong: dict[str, Any] = {
        "dry_multiplier": 9.0, "repetition_penalty": 2.0, "no_repeat_ngram_size": 1, "temperature": 4.0, "skew": 9.0,
        "top_n_sigma": 0.1, "top_k": 1, "top_p": 0.01, "top_a": 5.0, "min_p": 1.0, "tfs": 0.1, "eta_cutoff": 9e3,
        "epsilon_cutoff": 9e3, "typical_p": 0.01, "smoothing_factor": 5.0, "xtc_probability": 1.0,
    }  # fmt: skip
    regex = {"regex": "(red|blue|green|grey)( (red|blue|green|grey)){3}"}
    params = SamplingParams.from_fields(
        strong | {"sampler_order": [step], "structured_outputs": regex, "banned_phrases": ["gr", "red"], "seed": 1}
    )
    (output,) = demo.generate(PROMPT, params)[0].outputs
    words = output.text.split()
    assert len(words) == 4 and set(words) == {"blue"}
    assert output.finish_reason == "stop"
    assert all_blocks_free(demo)
