"""Bad input: one clear error naming the thing and the limits, before anything runs; the engine goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aphrodite_engine.config import EngineConfig
from aphrodite_engine.errors import (
    ChatTemplateError,
    ContextOverflowError,
    MemoryPlanError,
    ModelError,
    ParameterError,
    UnsupportedModelError,
)
from aphrodite_engine.llm import LLM
from aphrodite_engine.params import SamplingParams
from tests.engine.inside import engine_of
from tests.engine.models.checkpoints import write_checkpoint
from tests.engine.tiny import EOS, VOCAB, write_tiny_llama

LAST = VOCAB - 1


@pytest.fixture(autouse=True)
def engine_goes_on(tiny: LLM) -> Iterator[None]:
    """After every refusal: nothing was queued, and the next good request is answered."""
    yield
    assert not engine_of(tiny).has_work
    assert tiny.generate([1], SamplingParams(max_tokens=1))[0].finished


def refused(call: Callable[[], Any], field: str, says: str = "") -> ParameterError:
    with pytest.raises(ParameterError) as caught:
        call()
    assert caught.value.field == field
    assert says in str(caught.value)
    return caught.value


# ---- prompts


@pytest.mark.parametrize("token_id", [-1, VOCAB, 2**63, 2**70, True, 1.0, "1", None, np.int64(1), [1]])
def test_an_id_that_is_not_one_of_the_vocabulary_is_refused_with_its_place(tiny: LLM, token_id: Any) -> None:
    for prompts in ([[1, token_id]], [[5], [1, token_id]]):
        refused(lambda prompts=prompts: tiny.generate(prompts), "prompt[1]", f"from 0 to {LAST}")


@pytest.mark.parametrize("prompts", [None, 5, 1.5, b"ab", {"a": 1}, object(), [], [5.0], [None], [{"role": "user"}]])
def test_what_is_no_prompt_is_refused(tiny: LLM, prompts: Any) -> None:
    with pytest.raises(ParameterError):
        tiny.generate(prompts)


@pytest.mark.parametrize("prompts", [[[]], [[1], []], ["a", []], [b"ab"], [[1], b"ab"], [[1], 5], ["a", None]])
def test_one_bad_prompt_among_good_ones_refuses_the_call(tiny: LLM, prompts: Any) -> None:
    with pytest.raises(ParameterError, match="prompt"):
        tiny.generate(prompts)


def test_an_empty_list_of_ids_is_refused(tiny: LLM) -> None:
    refused(lambda: tiny.generate([[]]), "prompt", "at least one token")
    refused(lambda: tiny.stream([]), "prompt", "at least one token")


@pytest.mark.parametrize("length", [256, 257, 10_000])
def test_a_prompt_that_leaves_no_room_for_one_token_is_refused_with_the_numbers(tiny: LLM, length: int) -> None:
    with pytest.raises(ContextOverflowError, match=f"{length} tokens.*255.*max_model_len=256") as caught:
        tiny.generate([[1], [5] * length])
    assert (caught.value.num_tokens, caught.value.max_model_len) == (length, 256)


def test_a_prompt_to_embed_may_fill_the_whole_context_but_no_more(tiny: LLM) -> None:
    assert tiny.embed([5] * 256).shape == (1, 64)
    with pytest.raises(ContextOverflowError):
        tiny.embed([5] * 257)


@pytest.mark.parametrize("text", ["\0", "\ud800", "a\udfff\ud800", "\u202eabc", "\U000e0001", "￾", "\N{BOM}x"])
def test_strange_text_is_answered_with_valid_unicode(tiny: LLM, text: str) -> None:
    result = tiny.generate(text, SamplingParams(max_tokens=20, ignore_eos=True))[0]
    assert result.text.encode("utf-8").decode("utf-8") == result.text


def test_a_very_long_text_overflows_the_context_by_its_beginning(tiny: LLM) -> None:
    started = time.perf_counter()
    with pytest.raises(ContextOverflowError, match="more than 4096 tokens"):
        tiny.generate("a" * 10_000_000)
    assert time.perf_counter() - started < 1  # all of it would take more than 10


# ---- parameters against a model


@pytest.mark.parametrize(
    ("field", "params"),
    [
        ("logit_bias", SamplingParams(logit_bias={VOCAB: 1.0})),
        ("stop_token_ids", SamplingParams(stop_token_ids=[1, VOCAB])),
        ("allowed_token_ids", SamplingParams(allowed_token_ids=[VOCAB])),
    ],
)
def test_ids_in_parameters_must_be_of_the_vocabulary(tiny: LLM, field: str, params: SamplingParams) -> None:
    refused(lambda: tiny.generate("a", params), field, f"from 0 to {LAST}")


def test_min_tokens_with_nothing_allowed_but_ends_is_refused(tiny: LLM) -> None:
    params = SamplingParams(min_tokens=2, allowed_token_ids=[EOS, 7], stop_token_ids=[7])
    refused(lambda: tiny.generate("a", params), "allowed_token_ids", "min_tokens=2")


def test_min_tokens_with_every_id_a_stop_id_is_refused(tiny: LLM) -> None:
    everything = [i for i in range(VOCAB) if i != 9]
    params = SamplingParams(min_tokens=2, stop_token_ids=everything, max_tokens=3)
    assert tiny.generate("a", params)[0].token_ids[:2] == [9, 9]
    refused(
        lambda: tiny.generate("a", params.with_fields(stop_token_ids=list(range(VOCAB)))),
        "stop_token_ids",
        "min_tokens=2",
    )


@pytest.mark.parametrize("params", [5, "greedy", {"temperature": 0}, [5], [None, SamplingParams()], [{}]])
def test_what_are_no_sampling_params_is_refused(tiny: LLM, params: Any) -> None:
    refused(lambda: tiny.generate(["a"], params), "sampling_params")


def test_a_list_of_params_of_another_length_than_the_prompts_is_refused(tiny: LLM) -> None:
    for count in (0, 1, 3):
        refused(
            lambda count=count: tiny.generate(["a", "b"], [SamplingParams()] * count), "sampling_params", "2 prompts"
        )


BAD_PLACES = [("priority", "high"), ("priority", 1.5), ("priority", True), ("cache_salt", 5), ("cache_salt", None)]


@pytest.mark.parametrize(("field", "value"), BAD_PLACES)
def test_priority_and_salt_of_a_wrong_type_are_refused(tiny: LLM, field: str, value: Any) -> None:
    refused(lambda: tiny.generate("a", **{field: value}), field)
    refused(lambda: tiny.stream("a", **{field: value}), field)


@pytest.mark.parametrize("messages", [None, 5, "hello", {"role": "user", "content": "x"}, [], [[]], [["user"]], [None]])
def test_what_is_no_conversation_is_refused(tiny: LLM, messages: Any) -> None:
    with pytest.raises(ChatTemplateError):
        tiny.chat(messages)


@pytest.mark.parametrize("value", [5, None, b"a", ["a"]])
def test_only_text_is_tokenised(tiny: LLM, value: Any) -> None:
    refused(lambda: tiny.tokenize(value), "text")


@pytest.mark.parametrize("value", [[-1], [2**40], [True], "ab", 5, [1.0]])
def test_only_ids_are_detokenised(tiny: LLM, value: Any) -> None:
    with pytest.raises(ParameterError, match="token_ids"):
        tiny.detokenize(value)


@pytest.mark.parametrize("pooling", ["max", "", 5, True, "MEAN"])
def test_an_unknown_pooling_is_refused(tiny: LLM, pooling: Any) -> None:
    refused(lambda: tiny.embed("a", pooling=pooling), "pooling", "'mean', 'cls' or 'last'")


def test_a_decoder_has_no_cls_token_to_pool(tiny: LLM) -> None:
    refused(lambda: tiny.embed("a", pooling="cls"), "pooling", "first token sees only itself")


# ---- settings


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("dtype", "float8"), ("dtype", None), ("dtype", 16), ("device", "tpu"), ("device", 5), ("device", "meta"),
        ("max_model_len", 1), ("max_model_len", 0), ("max_model_len", -5), ("max_model_len", 10.0),
        ("gpu_memory_utilization", 0), ("gpu_memory_utilization", 1.1), ("gpu_memory_utilization", float("nan")),
        ("gpu_memory_utilization", "0.9"), ("gpu_memory_utilization", True), ("kv_cache_memory", 0),
        ("kv_cache_memory", -1), ("kv_cache_memory", 1.5), ("max_num_batched_tokens", 0), ("max_num_seqs", 0),
        ("max_num_seqs", None), ("seed", -1), ("seed", 1.5), ("determinism", "loose"), ("determinism", True),
        ("quantization", "awq"), ("quantization", "int4"), ("quantization", 8),
        ("trust_remote_code", "yes"), ("trust_remote_code", 1),
        ("enable_prefix_caching", None), ("enforce_eager", 0), ("offline", "yes"), ("revision", 5), ("download_dir", 5),
    ],
)  # fmt: skip
def test_a_setting_out_of_range_is_refused_by_name(field: str, value: Any) -> None:
    error = refused(lambda: EngineConfig(**{field: value}), field)
    assert error.value is value


def test_an_unknown_setting_is_refused_with_the_known_ones(tiny_folder: Path) -> None:
    error = refused(lambda: LLM(tiny_folder, tensor_parallel_size=2), "tensor_parallel_size", "max_num_seqs")
    assert error.value == 2
    refused(lambda: LLM(tiny_folder, max_model_length=2), "max_model_length", "did you mean 'max_model_len'")


def test_a_context_longer_than_the_models_is_refused(tiny_folder: Path) -> None:
    refused(lambda: LLM(tiny_folder, max_model_len=257), "max_model_len", "256")


def test_a_cache_too_small_for_the_context_asked_for_is_refused_with_the_numbers(tiny_folder: Path) -> None:
    with pytest.raises(MemoryPlanError, match=r"256 tokens.*lower max_model_len or raise kv_cache_memory"):
        LLM(tiny_folder, max_model_len=256, kv_cache_memory=100_000)


def test_a_cache_larger_than_memory_is_refused_with_the_numbers(tiny_folder: Path) -> None:
    with pytest.raises(MemoryPlanError, match=r"kv_cache_memory=1,000,000,000,000,000 bytes, but .* are left"):
        LLM(tiny_folder, kv_cache_memory=10**15)


# ---- models


def test_an_encoder_embeds_and_refuses_to_generate(tmp_path: Path) -> None:
    with LLM(write_checkpoint(tmp_path, "bert")) as llm:
        assert llm.embed([[5, 6, 7]]).shape == (1, 64)
        refusing: list[Callable[[], Any]] = [
            lambda: llm.generate([5]), lambda: llm.stream([5]), lambda: llm.chat([{"role": "user", "content": "x"}])
        ]  # fmt: skip
        for call in refusing:
            with pytest.raises(UnsupportedModelError):
                call()


def test_a_folder_that_is_missing_empty_or_a_file_is_a_model_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    for name in ("file", "empty", "missing/folder/far/away"):
        with pytest.raises(ModelError, match=name):
            LLM(tmp_path / name)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"architectures": ["Nonesuch"]}', '{"architectures": 5}', "{}"])
def test_a_damaged_or_unknown_config_is_a_model_error(tmp_path: Path, content: str) -> None:
    folder = write_tiny_llama(tmp_path)
    (folder / "config.json").write_text(content)
    with pytest.raises(ModelError):
        LLM(folder)


def test_a_damaged_tokenizer_is_found_while_loading(tmp_path: Path) -> None:
    folder = write_tiny_llama(tmp_path)
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        LLM(folder)


def test_a_damaged_pooling_file_is_a_model_error(tmp_path: Path) -> None:
    folder = write_tiny_llama(tmp_path)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text("[")
    with LLM(folder) as llm, pytest.raises(ModelError, match="1_Pooling"):
        llm.embed("a")


def test_a_sampling_parameter_is_not_lost_in_the_chat_template(tiny: LLM) -> None:
    messages = [{"role": "user", "content": "Hi"}]
    refused(lambda: tiny.chat(messages, temperature=0), "temperature", "SamplingParams(temperature=...)")
    refused(lambda: next(tiny.stream(messages, max_tokens=1)), "max_tokens", "SamplingParams")
