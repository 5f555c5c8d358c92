"""The memory plan: right numbers before anything is taken, and a refusal with the numbers where it does not fit."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
from safetensors import safe_open

from aphrodite_engine import plan as plan_module
from aphrodite_engine.config import EngineConfig
from aphrodite_engine.errors import MemoryPlanError
from aphrodite_engine.llm import LLM
from aphrodite_engine.plan import CPU_KV_LIMIT, plan_memory
from tests.engine.inside import engine_of
from tests.engine.models.checkpoints import write_checkpoint

TOKEN_BYTES = 2 * 2 * 2 * 16 * 4  # of the tiny model: keys and values, two layers, two heads of 16, float32


def free(monkeypatch: pytest.MonkeyPatch, num_bytes: int) -> None:
    """Make the machine have so much memory to give."""
    monkeypatch.setattr(plan_module, "free_bytes", lambda device: num_bytes)


def test_the_weights_are_counted_from_the_file(tiny_folder: Path) -> None:
    with safe_open(tiny_folder / "model.safetensors", "pt") as file:  # type: ignore[no-untyped-call]
        count = sum(file.get_tensor(name).numel() for name in file.keys())  # noqa: SIM118
    plan = plan_memory(str(tiny_folder))
    assert (plan.num_parameters, plan.weight_bytes, plan.dtype) == (count, 4 * count, "float32")
    half = plan_memory(str(tiny_folder), EngineConfig(dtype="bfloat16"))
    assert (half.weight_bytes, half.kv_bytes_per_token) == (2 * count, TOKEN_BYTES // 2)


def test_the_numbers_add_up(tiny_folder: Path) -> None:
    plan = plan_memory(str(tiny_folder))
    assert plan.kv_bytes_per_token == TOKEN_BYTES
    assert plan.kv_bytes == plan.kv_blocks * 16 * TOKEN_BYTES
    assert plan.left_bytes == plan.free_bytes - plan.weight_bytes - plan.kv_bytes - plan.activation_bytes
    assert plan.free_bytes <= plan.total_bytes
    assert (plan.max_model_len, plan.model_context, plan.note) == (256, 256, "")


def test_the_loaded_engine_has_what_was_planned(tiny: LLM) -> None:
    engine = engine_of(tiny)
    assert engine.scheduler.pool.num_blocks == tiny.plan.kv_blocks
    assert engine.max_model_len == tiny.max_model_len == tiny.plan.max_model_len
    cache = sum(tensor.nbytes for layer in engine.runner.kv.layers for tensor in layer)
    assert cache == tiny.plan.kv_bytes


def test_the_cache_takes_no_more_than_can_be_used(tiny_folder: Path) -> None:
    plan = plan_memory(str(tiny_folder), EngineConfig(max_num_seqs=3, max_model_len=100))
    assert plan.kv_blocks == 3 * 7


@pytest.mark.parametrize("gigabytes", [1, 2, 64])
def test_the_cache_takes_at_most_a_quarter_of_what_is_free(monkeypatch: pytest.MonkeyPatch, gigabytes: int) -> None:
    free(monkeypatch, gigabytes << 30)
    plan = plan_memory("demo", EngineConfig(max_num_seqs=100_000))
    assert plan.kv_bytes <= min((gigabytes << 30) // 4, CPU_KV_LIMIT)
    assert plan.kv_bytes > min((gigabytes << 30) // 5, CPU_KV_LIMIT - (1 << 20))


def test_an_explicit_cache_is_taken_as_given(tiny_folder: Path) -> None:
    plan = plan_memory(str(tiny_folder), EngineConfig(kv_cache_memory=50 * 16 * TOKEN_BYTES + 5))
    assert plan.kv_blocks == 50


def test_little_memory_shortens_the_context_and_says_so(tiny_folder: Path) -> None:
    plan = plan_memory(str(tiny_folder), EngineConfig(kv_cache_memory=4 * 16 * TOKEN_BYTES))
    assert (plan.kv_blocks, plan.max_model_len) == (4, 64)
    assert "raise kv_cache_memory for more context" in plan.note
    assert plan.note in str(plan)


def test_weights_that_do_not_fit_are_refused_with_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 10 << 20)
    with pytest.raises(MemoryPlanError, match=r"demo: weights 20\.9 MiB.*do not fit the 10\.0 MiB.*try dtype=bfloat16"):
        plan_memory("demo")


def test_a_cache_too_small_for_one_block_is_refused(tiny_folder: Path) -> None:
    with pytest.raises(MemoryPlanError, match="kv_cache_memory"):
        plan_memory(str(tiny_folder), EngineConfig(kv_cache_memory=100))


def test_planning_takes_no_memory_and_no_thread(tiny_folder: Path) -> None:
    plan_memory(str(tiny_folder))
    tracemalloc.start()
    plan = plan_memory(str(tiny_folder))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < plan.weight_bytes / 2


def test_the_plan_reads_as_a_table(tiny_folder: Path) -> None:
    lines = str(plan_memory(str(tiny_folder))).splitlines()
    assert [line.split()[0] for line in lines] == ["model", "on", "weights", "KV", "activations", "left", "context"]
    assert "LlamaForCausalLM, fast path" in lines[0]
    assert lines[1].split()[1:] == ["cpu,", "float32"]


def test_an_encoder_has_no_cache(tmp_path: Path) -> None:
    plan = plan_memory(str(write_checkpoint(tmp_path, "bert")))
    assert (plan.kv_blocks, plan.kv_bytes) == (0, 0)
    assert "none (an encoder)" in str(plan)
