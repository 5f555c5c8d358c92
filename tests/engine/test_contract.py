"""The reproducibility contract: a request's tokens and logprobs are bit-identical whatever else happens.

Every test compares whole outputs (ids, text, logprobs as exact floats, ranks, reasons) with what the request gives
alone on an engine without prefix cache that computes its prompt in one piece.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aphrodite_engine.llm import LLM
from aphrodite_engine.outputs import CompletionOutput, GenerationResult, PositionLogprobs
from aphrodite_engine.params import SamplingParams
from tests.engine import replay
from tests.engine.inside import DEVICE, examples
from tests.engine.models.checkpoints import VOCAB as MODELS_VOCAB
from tests.engine.models.checkpoints import write_checkpoint
from tests.engine.strategies import sampling_params
from tests.engine.tiny import VOCAB

CONTEXT = 128
#: Examples run an engine, which a busy machine slows down; that is no reason to fail.
CHECKED = settings(max_examples=examples(25), suppress_health_check=[HealthCheck.too_slow])
#: What random models write all the time: bytes that are no text, letters, pieces of words.
PHRASES = [("\ufffd\ufffd", "b", "Q"), tuple("aeiou"), ("\ufffda", "c", "d", " t"), ("\ufffd", "he", "\n")]
Engines = Callable[..., LLM]


@dataclass(frozen=True)
class Ask:
    """One request."""

    prompt: tuple[int, ...]
    params: SamplingParams


@dataclass(frozen=True)
class Outcome:
    """All that the contract promises about a request."""

    outputs: list[CompletionOutput]
    prompt_logprobs: list[PositionLogprobs | None] | None


@st.composite
def asks(draw: st.DrawFn, vocab: int = VOCAB, longest: int = 70, **fixed: Any) -> Ask:
    """A request with a prompt that may start like another's."""
    common = [(7 * place) % vocab for place in range(draw(st.sampled_from([0, 0, 5, 16, 33, 48])))]
    own = draw(st.lists(st.integers(0, vocab - 1), min_size=1, max_size=max(1, longest - len(common))))
    fields = {
        "n": draw(st.sampled_from([1, 1, 1, 3])),
        "max_tokens": draw(st.integers(1, 12)),
        "ignore_eos": draw(st.booleans()),
        "prompt_logprobs": draw(st.sampled_from([None, None, 0, 3])),
        "stop": draw(st.sampled_from([None, "a", ["zz", "e"]])),
        "repetition_detection": draw(st.sampled_from([None, {"max_pattern_size": 3, "min_count": 2}])),
        "banned_phrases": draw(st.sampled_from([(), (), *PHRASES])),
    }
    if fields["banned_phrases"]:
        fields["allowed_token_ids"] = None  # a few that all lead to a phrase end with an error
    return Ask(tuple([*common, *own]), draw(sampling_params(vocab, **(fields | fixed))))


def batches(**fixed: Any) -> st.SearchStrategy[list[Ask]]:
    return st.lists(asks(**fixed), min_size=2, max_size=6)


def outcome(result: GenerationResult) -> Outcome:
    return Outcome(result.outputs, result.prompt_logprobs)


def together(llm: LLM, many: list[Ask], **more: Any) -> list[Outcome]:
    results = llm.generate([list(ask.prompt) for ask in many], [ask.params for ask in many], **more)
    return [outcome(result) for result in results]


def alone(llm: LLM, ask: Ask, **more: Any) -> Outcome:
    return together(llm, [ask], **more)[0]


def streamed(llm: LLM, ask: Ask) -> Outcome:
    outputs = [CompletionOutput(index, 0) for index in range(ask.params.n)]
    result = GenerationResult("", None, list(ask.prompt), outputs)
    for event in llm.stream(list(ask.prompt), ask.params):
        result.outputs[event.index].seed = event.seed
        result.add(event)
    return outcome(result)


def preemptions(llm: LLM) -> int:
    assert llm._loaded is not None and llm._loaded.engine is not None
    return llm._loaded.engine.scheduler.num_preemptions


@pytest.fixture(scope="module")
def engines(tiny_folder: Path) -> Iterator[Engines]:
    """Engines on the tiny model, one for each set of settings."""
    opened: dict[str, LLM] = {}

    def engine(**settings: Any) -> LLM:
        key = json.dumps(settings, sort_keys=True)
        if key not in opened:
            opened[key] = LLM(tiny_folder, max_model_len=CONTEXT, **settings)
        return opened[key]

    yield engine
    for llm in opened.values():
        llm.close()


@pytest.fixture(scope="module")
def plain(engines: Engines) -> LLM:
    """Where a request is alone: nothing cached, prompts in one piece."""
    return engines(enable_prefix_caching=False)


# ---- one process


@given(many=batches(), data=st.data())
@CHECKED
def test_in_a_batch_with_others_in_any_order(
    engines: Engines, plain: LLM, many: list[Ask], data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(many))))
    shuffled = together(engines(), [many[place] for place in order])
    assert shuffled == [alone(plain, many[place]) for place in order]


@given(ask=asks(), salt=st.uuids())
@CHECKED
def test_with_the_prefix_cached_or_not(engines: Engines, plain: LLM, ask: Ask, salt: Any) -> None:
    expected = alone(plain, ask)
    llm = engines()
    assert alone(llm, ask, cache_salt=str(salt)) == expected, "a miss"
    again = llm.generate(list(ask.prompt), ask.params, cache_salt=str(salt))[0]
    assert outcome(again) == expected, "a hit"
    if len(ask.prompt) >= 16 and ask.params.prompt_logprobs is None:
        assert again.num_cached_tokens >= 15


@pytest.mark.slow
@pytest.mark.parametrize("budget", [1, 7, 16])
@given(many=batches())
@settings(CHECKED, max_examples=examples(8))
def test_with_the_prompt_in_chunks_of_any_size(engines: Engines, plain: LLM, budget: int, many: list[Ask]) -> None:
    assert together(engines(max_num_batched_tokens=budget), many) == [alone(plain, ask) for ask in many]


@pytest.mark.slow
@pytest.mark.parametrize("caching", [True, False])
def test_preempted_and_resumed(engines: Engines, plain: LLM, caching: bool) -> None:
    small = engines(kv_cache_memory=kv_bytes(blocks=9), enable_prefix_caching=caching)
    before = preemptions(small)

    @given(many=batches(max_tokens=30, ignore_eos=True, stop=None, n=3))
    @settings(CHECKED, max_examples=examples(10))
    def check(many: list[Ask]) -> None:
        assert together(small, many) == [alone(plain, ask) for ask in many]

    check()
    assert preemptions(small) > before
    assert preemptions(plain) == 0


@given(ask=asks())
@CHECKED
def test_streamed_or_not(engines: Engines, plain: LLM, ask: Ask) -> None:
    assert streamed(engines(), ask) == alone(plain, ask)


@given(ask=asks(n=5))
@CHECKED
def test_the_sequences_of_a_request_do_not_depend_on_how_many_there_are(plain: LLM, ask: Ask) -> None:
    fewer = Ask(ask.prompt, ask.params.with_fields(n=2))
    assert alone(plain, ask).outputs[:2] == alone(plain, fewer).outputs


@given(many=batches())
@settings(CHECKED, max_examples=examples(10))
def test_with_another_limit_on_what_runs_at_once(engines: Engines, plain: LLM, many: list[Ask]) -> None:
    assert together(engines(max_num_seqs=2), many) == [alone(plain, ask) for ask in many]


@pytest.mark.parametrize("way", [{"run_ahead": True}, {"run_ahead": False, "enforce_eager": True}], ids=str)
@given(many=batches())
@settings(CHECKED, max_examples=examples(10))
def test_with_steps_launched_ahead_or_one_by_one(
    engines: Engines, plain: LLM, way: dict[str, Any], many: list[Ask]
) -> None:
    """On a GPU the first of the two decodes by graphs."""
    assert together(engines(**way), many) == [alone(plain, ask) for ask in many]


@given(ask=asks(longest=40))
@settings(CHECKED, max_examples=examples(10))
def test_a_finished_text_continues_as_it_would_have(plain: LLM, ask: Ask) -> None:
    """A draw is keyed by its position, so ending and going on with the output as prompt changes nothing."""
    params = SamplingParams(seed=ask.params.seed, temperature=ask.params.temperature, ignore_eos=True, max_tokens=12)
    whole = alone(plain, Ask(ask.prompt, params)).outputs[0].token_ids
    rest = alone(plain, Ask((*ask.prompt, *whole[:5]), params.with_fields(max_tokens=7))).outputs[0].token_ids
    assert whole[5:] == rest


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@given(many=batches())
@settings(CHECKED, max_examples=examples(6))
def test_in_half_precision_too(engines: Engines, dtype: str, many: list[Ask]) -> None:
    expected = [alone(engines(dtype=dtype, enable_prefix_caching=False), ask) for ask in many]
    assert together(engines(dtype=dtype, max_num_batched_tokens=7), many) == expected
    assert together(engines(dtype=dtype), many) == expected


@pytest.mark.slow
@pytest.mark.skipif(DEVICE.type != "cpu", reason="threads compute on the CPU only")
@pytest.mark.parametrize("threads", [1, 2])
def test_with_any_number_of_threads(
    tiny_folder: Path, plain: LLM, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", str(threads))
    before, seen = torch.get_num_threads(), set()
    torch.set_num_threads(threads)
    try:
        with LLM(tiny_folder, max_model_len=CONTEXT) as llm:
            assert llm._loaded is not None and llm._loaded.engine is not None
            model = llm._loaded.engine.runner.model
            forward = model.forward
            monkeypatch.setattr(model, "forward", lambda *args: seen.add(torch.get_num_threads()) or forward(*args))

            @given(many=batches())
            @settings(CHECKED, max_examples=examples(8))
            def check(many: list[Ask]) -> None:
                assert together(llm, many) == [alone(plain, ask) for ask in many]

            check()
    finally:
        torch.set_num_threads(before)
    assert seen == {threads}


@pytest.mark.slow
@given(many=batches(vocab=4096, longest=60))
@settings(CHECKED, max_examples=examples(6))
def test_on_the_bundled_model(demo: LLM, chunked_demo: LLM, many: list[Ask]) -> None:
    expected = [alone(chunked_demo, ask) for ask in many]
    assert together(demo, many) == expected
    assert together(chunked_demo, many[::-1]) == expected[::-1]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mistral_window", "gpt2", "gemma2", "qwen3_moe"])
def test_on_other_architectures(tmp_path: Path, kind: str) -> None:
    """Sliding windows on the fast path; learned positions, soft caps and experts on the universal one."""
    folder = write_checkpoint(tmp_path, kind)
    with LLM(folder, enable_prefix_caching=False) as whole, LLM(folder, max_num_batched_tokens=7) as chunked:

        @given(many=batches(vocab=MODELS_VOCAB, longest=60, stop=None, banned_phrases=()))
        @settings(CHECKED, max_examples=examples(4))
        def check(many: list[Ask]) -> None:
            expected = [alone(whole, ask) for ask in many]
            assert together(whole, many[::-1]) == expected[::-1]
            assert together(chunked, many) == expected

        check()


@pytest.fixture(scope="module")
def chunked_demo() -> Iterator[LLM]:
    settings: dict[str, Any] = {"max_num_batched_tokens": 13, "enable_prefix_caching": False}
    with LLM("demo", dtype="float32", kv_cache_memory=64 << 20, **settings) as llm:
        yield llm


def kv_bytes(blocks: int) -> int:
    """Bytes of so many KV blocks of the tiny model in float32: two layers, keys and values, two heads of 16."""
    return blocks * 16 * 2 * 2 * 2 * 16 * 4


# ---- other processes

WAYS: list[dict[str, Any]] = [
    {"one_by_one": True, "settings": {"enable_prefix_caching": False}},
    {"one_by_one": False, "settings": {}},
    {"one_by_one": False, "settings": {"max_num_batched_tokens": 7}},
    {"one_by_one": False, "settings": {"max_num_batched_tokens": 3, "enable_prefix_caching": False}},
]


def in_another_process(folder: Path, ways: list[dict[str, Any]], **environment: str) -> list[Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.engine.replay", str(folder)], input=json.dumps(ways), capture_output=True,
        text=True, check=False, env=os.environ | environment, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_before_and_after_a_restart(tiny_folder: Path, plain: LLM) -> None:
    (restarted,) = in_another_process(tiny_folder, WAYS[1:2])
    assert restarted == replay.run(plain, one_by_one=True)


@pytest.mark.slow
@pytest.mark.skipif(DEVICE.type != "cpu", reason="plain torch promises nothing of the kind on a GPU")
def test_the_plain_torch_kernels_keep_the_contract_with_themselves(tiny_folder: Path) -> None:
    first, *others = in_another_process(tiny_folder, WAYS, APHRODITE_KERNELS="reference")
    assert all(other == first for other in others)
