"""Going on behind output that is already there: the same tokens as if all of it had been drawn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aphrodite_engine.errors import ParameterError
from aphrodite_engine.llm import LLM
from aphrodite_engine.outputs import CompletionOutput, GenerationResult
from aphrodite_engine.params import SamplingParams
from aphrodite_engine.prompts import Continuation
from tests.engine.inside import examples, needs_llguidance
from tests.engine.strategies import sampling_params
from tests.engine.tiny import VOCAB

pytestmark = pytest.mark.slow

PROMPT = "Once upon a time"


def go_on(llm: LLM, prompt: Any, params: SamplingParams, output: CompletionOutput, at: int) -> CompletionOutput:
    """The same sequence from its first `at` tokens on."""
    begun = Continuation(tuple(output.token_ids[:at]), output.index)
    alone = params.with_fields(n=1, seed=output.seed, prompt_logprobs=None)
    (result,) = llm.generate(prompt, alone, continuation=begun)
    return result.outputs[0]


def check_every_prefix(llm: LLM, prompt: Any, params: SamplingParams) -> GenerationResult:
    """From each prefix of each of its sequences the rest is the rest, bit for bit."""
    (whole,) = llm.generate(prompt, params)
    for output in whole.outputs:
        for at in range(len(output.token_ids) + 1):
            rest = go_on(llm, prompt, params, output, at)
            expected = replace(output, index=0, given=rest.given)
            if output.logprobs is not None:
                expected = replace(expected, logprobs=[{}] * at + output.logprobs[at:])
            if output.traces is not None:
                expected = replace(expected, traces=[()] * at + output.traces[at:])
            assert rest == expected, f"from {at} of sequence {output.index}"
            assert len(rest.given) == at
    return whole


@given(
    params=sampling_params(VOCAB, max_tokens=8, trace=2, stop=["a", "zz"]),
    prompt=st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=40),
    n=st.sampled_from([1, 1, 3]),
    min_tokens=st.sampled_from([0, 4]),
    ignore_eos=st.booleans(),
)
@settings(max_examples=examples(40), suppress_health_check=[HealthCheck.too_slow])
def test_from_every_prefix_the_rest_is_the_same_whatever_samples(
    tiny: LLM, params: SamplingParams, prompt: list[int], n: int, min_tokens: int, ignore_eos: bool
) -> None:
    allowed = params.allowed_token_ids  # with min_tokens something that does not end must be possible
    min_tokens = min_tokens if allowed is None or len(allowed) > 2 else 0
    check_every_prefix(tiny, prompt, params.with_fields(n=n, min_tokens=min_tokens, ignore_eos=ignore_eos))


CASES: dict[str, dict[str, Any]] = {
    "mirostat": {"mirostat_mode": 2, "mirostat_tau": 3.0, "trace": 1},
    "adaptive_p": {"adaptive_target": 0.3, "min_p": 0.01, "logprobs": 2},
    "mirostat and a grammar": {"mirostat_mode": 2, "structured_outputs": {"regex": "[a-z]{3} [0-9]{4}"}},
    "a grammar": {"structured_outputs": {"json": {"type": "object", "properties": {"name": {"enum": ["Pip", "Tom"]}},
        "required": ["name"], "additionalProperties": False}}, "max_tokens": 40},
    "a choice": {"structured_outputs": {"choice": ["fox", "hen"]}},
    "stop strings": {"stop": ["ed to", " and"], "max_tokens": 60},
    "a stop string that is kept": {"stop": ["ed to"], "include_stop_str_in_output": True, "max_tokens": 60},
    "least tokens": {"min_tokens": 12, "max_tokens": 14, "stop": ["e"]},
    "penalties": {"repetition_penalty": 1.3, "frequency_penalty": 0.5, "dry_multiplier": 0.8},
    "bad words": {"bad_words": [" the", " was"]},
    "several": {"n": 3, "xtc_probability": 0.5, "temperature": 1.3},
    "greedy": {"temperature": 0, "logprobs": 1},
    "banned phrases": {"banned_phrases": [" and", " was a", "there", "named"], "logprobs": 1, "max_tokens": 30},
    "going round": {"repetition_detection": {"max_pattern_size": 4, "min_count": 2}, "top_k": 1, "max_tokens": 40},
}  # fmt: skip


def each_case() -> list[Any]:
    """The cases, those with a grammar marked."""
    return [
        pytest.param(fields, id=name, marks=needs_llguidance if "structured_outputs" in fields else ())
        for name, fields in CASES.items()
    ]


@pytest.mark.parametrize("fields", each_case())
def test_from_every_prefix_of_the_bundled_model(demo: LLM, fields: dict[str, Any]) -> None:
    check_every_prefix(demo, PROMPT, SamplingParams.from_fields({"seed": 5, "max_tokens": 16} | fields))


@pytest.mark.parametrize("seed", range(6))
def test_tokens_taken_back_leave_no_trace_in_what_follows(demo: LLM, seed: int) -> None:
    phrases = [" the", " little", "ed to", " day", " a big"]
    check_every_prefix(demo, PROMPT, SamplingParams(seed=seed, max_tokens=20, banned_phrases=phrases))


def test_the_first_event_is_what_was_given_and_needs_no_model(demo: LLM) -> None:
    params = SamplingParams(seed=3, max_tokens=12, logprobs=2, trace=1)
    (whole,) = demo.generate(PROMPT, params)
    begun = Continuation(tuple(whole.token_ids[:5]))
    first, second, *_ = demo.stream(PROMPT, params, continuation=begun)
    assert first.token_ids == begun.token_ids and "".join(first.given) == demo.detokenize(begun.token_ids)
    assert first.text == demo.detokenize(begun.token_ids)
    assert (first.logprobs, first.traces) == (({},) * 5, ((),) * 5)
    assert second.token_ids == (whole.token_ids[5],) and second.logprobs and second.logprobs[0]
    (result,) = demo.generate(PROMPT, params, continuation=begun)
    tokens = result.tokens
    assert [token.text for token in tokens] == [token.text for token in whole.tokens]
    assert [token.probability for token in tokens[:5]] == [None] * 5 and tokens[5:] == whole.tokens[5:]


def test_what_was_given_is_found_in_the_cache(tiny_folder: Any) -> None:
    with LLM(tiny_folder) as llm:
        prompt, params = list(range(1, 41)), SamplingParams(seed=1, max_tokens=60, ignore_eos=True)
        (whole,) = llm.generate(prompt, params)
        before = llm.stats()
        (rest,) = llm.generate(prompt, params, continuation=Continuation(tuple(whole.token_ids[:50])))
        after = llm.stats()
    assert rest.token_ids == whole.token_ids and rest.num_cached_tokens == 80  # five blocks of 16, of 90 tokens
    assert after.prompt_tokens - before.prompt_tokens == 90 and after.cached_tokens - before.cached_tokens == 80
    assert after.output_tokens - before.output_tokens == 10


def test_a_preempted_continuation_goes_on_as_it_would_have(tiny_folder: Any) -> None:
    prompts = [[9 + place, 3, 5] * 4 for place in range(6)]
    shared = SamplingParams(max_tokens=60, ignore_eos=True, seed=4)
    every = [shared, shared.with_fields(mirostat_mode=2), shared.with_fields(adaptive_target=0.2)] * 2
    with LLM(tiny_folder, max_model_len=128) as roomy:
        wholes = roomy.generate(prompts, every)
        per_token = roomy.plan.kv_bytes_per_token
    begun = [Continuation(tuple(whole.token_ids[:30])) for whole in wholes]
    with LLM(tiny_folder, max_model_len=128, kv_cache_memory=per_token * 16 * 14) as narrow:
        rests = narrow.generate(prompts, every, continuation=begun)
        assert narrow.stats().preemptions > 0
    assert [rest.token_ids for rest in rests] == [whole.token_ids for whole in wholes]


@needs_llguidance
def test_what_has_already_ended_ends_at_once(demo: LLM) -> None:
    eos = demo.tokenize("<|im_end|>", add_special_tokens=False) if "<|im_end|>" in demo.added_tokens else []
    ids = tuple(demo.tokenize(" there was a fox", add_special_tokens=False))
    cases: list[tuple[dict[str, Any], tuple[int, ...], str, Any, int]] = [
        ({"max_tokens": len(ids)}, ids, "length", None, len(ids)),
        ({"stop": " was"}, ids, "stop", " was", 2),
        ({"stop_token_ids": [ids[2]]}, ids, "stop", ids[2], 3),
        ({"structured_outputs": {"choice": [" there was a fox"]}}, ids, "stop", None, len(ids)),
    ]
    if eos:
        cases.append(({}, (*ids, *eos, *ids), "stop", None, len(ids) + 1))
    for fields, token_ids, reason, by, count in cases:
        before = demo.stats().prompt_tokens
        (result,) = demo.generate(PROMPT, SamplingParams(**fields), continuation=Continuation(token_ids))
        (output,) = result.outputs
        assert (output.finish_reason, output.stop_reason, len(output.token_ids)) == (reason, by, count)
        assert demo.stats().prompt_tokens == before, "the model was asked"
        assert len(list(demo.stream(PROMPT, SamplingParams(**fields), continuation=Continuation(token_ids)))) == 1


def test_a_token_that_could_not_have_come_may_be_given(demo: LLM) -> None:
    """Samplers that learn go on behind it, too."""
    odd = Continuation((4000, 7, 4001))
    several: list[dict[str, Any]] = [
        {"mirostat_mode": 2}, {"adaptive_target": 0.5}, {"allowed_token_ids": [30, 31, 32]},
    ]  # fmt: skip
    for fields in several:
        (result,) = demo.generate(PROMPT, SamplingParams(seed=1, max_tokens=8, **fields), continuation=odd)
        assert result.token_ids[:3] == [4000, 7, 4001] and len(result.outputs[0].given) == 3


REFUSED: dict[str, tuple[Continuation | list[Any], dict[str, Any], str]] = {
    "prompt_logprobs": (Continuation((5,)), {"prompt_logprobs": 1}, "prompt_logprobs"),
    "several": (Continuation((5,)), {"n": 2}, "n"),
    "index": (Continuation((5,), 256), {}, "continuation.index"),
    "vocabulary": (Continuation((5, 10**6)), {}, "continuation.token_ids[1]"),
    "more than max_tokens": (Continuation((5, 6, 7)), {"max_tokens": 2}, "continuation"),
    "more than the context": (Continuation((5,) * 2048), {"max_tokens": None}, "continuation"),
    "another kind": ([5, 6], {}, "continuation"),
    "another number": ([Continuation(), Continuation()], {}, "continuation"),
    "grammar": (Continuation((4000,)), {"structured_outputs": {"choice": ["ab"]}}, "continuation.token_ids[0]"),
}


@needs_llguidance
@pytest.mark.parametrize(("begun", "fields", "named"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_go_on_is_refused_by_name(demo: LLM, begun: Any, fields: dict[str, Any], named: str) -> None:
    with pytest.raises(ParameterError) as refusal:
        demo.generate("a", SamplingParams(**fields), continuation=begun)
    assert refusal.value.field == named
    assert not demo.stats().running


def test_a_conversation_goes_on_too(demo: LLM) -> None:
    question, params = [{"role": "user", "content": "What is 39 + 48?"}], SamplingParams(temperature=0, max_tokens=6)
    (whole,) = demo.chat(question, params)
    (rest,) = demo.chat(question, params, continuation=Continuation(tuple(whole.token_ids[:1])))
    assert (rest.text, rest.token_ids, rest.outputs[0].given) == (whole.text, whole.token_ids, ("8",))
