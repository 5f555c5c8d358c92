"""Logprobs of drawn and prompt tokens equal, bit for bit, what the model's own logits say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from aphrodite_engine.llm import LLM
from aphrodite_engine.outputs import GenerationResult, PositionLogprobs
from aphrodite_engine.params import SamplingParams
from tests.engine.inside import engine_of, logits_of

PROMPT = [(11 * place) % 250 for place in range(75)]
PARAMS = SamplingParams(max_tokens=9, ignore_eos=True, seed=5, logprobs=3, prompt_logprobs=2)


def check_position(position: PositionLogprobs, token: int, logits: torch.Tensor, count: int) -> None:
    """One position: the token itself first, then the best, all as log_softmax of the model's logits has them."""
    logprobs = torch.log_softmax(logits, 0)
    best = torch.sort(logprobs, descending=True, stable=True).indices[:count].tolist()
    assert list(position) == list(dict.fromkeys([token, *best]))
    for token_id, reported in position.items():
        assert reported.logprob == logprobs[token_id].item()
        assert reported.rank == 1 + int((logprobs > logprobs[token_id]).sum())
    check_entropy(position, token, logprobs)


def check_entropy(position: PositionLogprobs, token: int, logprobs: torch.Tensor) -> None:
    """With the position's own token only; against float64."""
    exact = logprobs.double()
    assert position[token].entropy == pytest.approx(-(exact.exp() * exact).sum().item(), rel=1e-5)
    assert all(reported.entropy is None for other, reported in position.items() if other != token)


def check(llm: LLM, result: GenerationResult, params: SamplingParams = PARAMS) -> None:
    prompt = result.prompt_token_ids
    for output in result.outputs:
        logits = logits_of(llm, [*prompt, *output.token_ids])
        assert output.logprobs is not None and len(output.logprobs) == len(output.token_ids)
        for place, (token, position) in enumerate(zip(output.token_ids, output.logprobs, strict=True)):
            check_position(position, token, logits[len(prompt) - 1 + place], params.logprobs or 0)
    check_prompt(llm, result, params)


def check_prompt(llm: LLM, result: GenerationResult, params: SamplingParams) -> None:
    logits, prompt = logits_of(llm, result.prompt_token_ids), result.prompt_token_ids
    assert result.prompt_logprobs is not None and len(result.prompt_logprobs) == len(prompt)
    assert result.prompt_logprobs[0] is None, "nothing comes before the first token"
    for place, position in enumerate(result.prompt_logprobs[1:], start=1):
        assert position is not None
        check_position(position, prompt[place], logits[place - 1], params.prompt_logprobs or 0)


@pytest.mark.parametrize("budget", [7, 64, 512])
def test_in_whole_or_in_chunks(tiny_folder: Path, budget: int) -> None:
    with LLM(tiny_folder, max_num_batched_tokens=budget) as llm:
        for result in llm.generate([PROMPT, PROMPT[:20], [3]], PARAMS):
            check(llm, result)


def test_under_a_prefix_hit(tiny: LLM) -> None:
    tiny.generate(PROMPT, SamplingParams(max_tokens=1), cache_salt="hit")
    result = tiny.generate(PROMPT, PARAMS.with_fields(prompt_logprobs=None), cache_salt="hit")[0]
    assert result.num_cached_tokens == 64
    assert result.prompt_logprobs is None
    check(tiny, tiny.generate(PROMPT, PARAMS, cache_salt="hit")[0])


def test_of_every_sequence_of_a_request(tiny: LLM) -> None:
    check(tiny, tiny.generate(PROMPT, PARAMS.with_fields(n=3))[0])


def test_after_preemption(tiny_folder: Path) -> None:
    with LLM(tiny_folder, max_model_len=112, kv_cache_memory=8 * 16 * 512) as llm:
        params = PARAMS.with_fields(max_tokens=30)
        for result in llm.generate([PROMPT[i : i + 30] for i in range(4)], params):
            check(llm, result, params)
        assert engine_of(llm).scheduler.num_preemptions > 0


def test_after_preemption_in_the_middle_of_the_prompt(tiny_folder: Path) -> None:
    with LLM(tiny_folder, max_model_len=112, kv_cache_memory=7 * 16 * 512, max_num_batched_tokens=2) as llm:
        first = PARAMS.with_fields(max_tokens=40)
        results = llm.generate([PROMPT[:60], PROMPT[5:53]], [first, PARAMS])
        for result, params in zip(results, (first, PARAMS), strict=True):
            check(llm, result, params)
        assert engine_of(llm).scheduler.num_preemptions > 0


@pytest.mark.parametrize("length", [1, 2, 65, 66, 130])
def test_of_prompts_around_the_rows_held_at_once(tiny: LLM, length: int) -> None:
    params = SamplingParams(max_tokens=1, prompt_logprobs=0, temperature=0)
    check_prompt(tiny, tiny.generate(([7, 8] * 65)[:length], params)[0], params)


def test_the_text_of_each_token_is_reported(tiny: LLM) -> None:
    result = tiny.generate("ab", PARAMS)[0]
    for position in _positions(result.outputs[0].logprobs):
        assert {i: p.decoded_token for i, p in position.items()} == {i: tiny.detokenize([i]) for i in position}


def test_processed_logprobs_are_those_of_the_distribution_drawn_from(tiny: LLM) -> None:
    params = PARAMS.with_fields(logprobs=5, logprobs_mode="processed", temperature=0.5, top_k=4)
    result = tiny.generate(PROMPT, params)[0]
    logits = logits_of(tiny, [*PROMPT, *result.token_ids])
    for place, position in enumerate(_positions(result.outputs[0].logprobs)):
        row = logits[len(PROMPT) - 1 + place] / 0.5
        expected = torch.log_softmax(row.masked_fill(row < row.topk(4).values[-1], -torch.inf), 0)
        assert {i: p.logprob for i, p in position.items()} == {i: expected[i].item() for i in position}
        assert len(position) == 4


def test_ranks_of_the_best_count_from_one(tiny: LLM) -> None:
    params = SamplingParams(max_tokens=1, logprobs=20, temperature=0)
    for position in _positions(tiny.generate("ab", params)[0].outputs[0].logprobs):
        assert [p.rank for p in position.values()] == list(range(1, 21))


def test_logprobs_are_absent_unless_asked_for(tiny: LLM) -> None:
    result = tiny.generate("ab", SamplingParams(max_tokens=2))[0]
    assert (result.outputs[0].logprobs, result.prompt_logprobs) == (None, None)


def _positions(logprobs: Sequence[PositionLogprobs] | None) -> Sequence[PositionLogprobs]:
    assert logprobs
    return logprobs
