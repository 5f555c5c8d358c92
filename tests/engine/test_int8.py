"""Weights held as int8: the same promises, a quarter of the memory, nearly the same model."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from random import Random

import pytest

from aphrodite_engine.config import EngineConfig
from aphrodite_engine.errors import ParameterError
from aphrodite_engine.llm import LLM
from aphrodite_engine.loading.plan import plan_memory
from aphrodite_engine.models.base import Quantization
from aphrodite_engine.outputs import GenerationResult
from aphrodite_engine.params import SamplingParams
from tests.engine.models.checkpoints import write_checkpoint

pytestmark = pytest.mark.slow

SKILLS = Path(__file__).parents[2] / "experiments" / "demo_model"
KV = 32 * 2**20
QUESTION = [{"role": "user", "content": "What is 39 + 48?"}]


@pytest.fixture
def stories(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Texts of the kind that the bundled model has learned, none of which it has seen."""
    monkeypatch.syspath_prepend(SKILLS)
    generator, split = importlib.import_module("skills.stories"), importlib.import_module("skills.item").Split
    random = Random(11)
    return [generator.story_as_text(random, split.HELD_OUT).text for _ in range(40)]


def negative_log_likelihood(results: list[GenerationResult]) -> tuple[float, int]:
    """Nats of all prompt tokens but the first ones, and how many they are."""
    nats = [
        -position[token_id].logprob
        for result in results
        for token_id, position in zip(result.prompt_token_ids, result.prompt_logprobs or [], strict=True)
        if position is not None
    ]
    return sum(nats), len(nats)


def perplexity(texts: list[str], quantization: Quantization | None = None) -> float:
    with LLM("demo", kv_cache_memory=KV, quantization=quantization) as llm:
        nats, count = negative_log_likelihood(llm.generate(texts, SamplingParams(max_tokens=1, prompt_logprobs=0)))
    return math.exp(nats / count)


def test_perplexity_of_held_out_text_changes_by_less_than_one_percent(stories: list[str]) -> None:
    exact, rounded = perplexity(stories), perplexity(stories, quantization="int8")
    print(f"perplexity {exact:.4f} exact, {rounded:.4f} as int8")
    assert rounded != exact
    assert abs(rounded / exact - 1) < 0.01


def test_an_answer_is_the_same_alone_and_among_others() -> None:
    params = SamplingParams(max_tokens=40, temperature=1.5, seed=3, logprobs=2)
    with LLM("demo", kv_cache_memory=KV, quantization="int8") as llm:
        alone = llm.generate("Once upon a time", params)[0]
        among = llm.generate(["2 + 2 =", "Once upon a time", "The fox" * 60], params)[1]
        assert llm.chat(QUESTION, SamplingParams(temperature=0))[0].text == "87"
    assert among.token_ids == alone.token_ids
    assert among.outputs[0].logprobs == alone.outputs[0].logprobs


def test_the_plan_counts_a_byte_a_weight() -> None:
    whole, small = (plan_memory("demo", EngineConfig(quantization=name)) for name in (None, "int8"))
    assert small.weight_bytes < 0.27 * whole.weight_bytes
    assert "parameters, as int8)" in str(small)
    assert small.num_parameters == whole.num_parameters == pytest.approx(small.weight_bytes, rel=0.05)


def test_models_of_the_universal_path_are_refused_by_name_before_loading(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, "gpt2")
    with pytest.raises(ParameterError, match="quantization='int8' is not allowed: None for GPT2LMHeadModel"):
        LLM(tmp_path, quantization="int8")
