"""The memory plan: right numbers before anything is taken, and a refusal with the numbers where it does not fit."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from aphrodite_engine.config import EngineConfig
from aphrodite_engine.errors import MemoryPlanError
from aphrodite_engine.llm import LLM
from aphrodite_engine.loading import plan as plan_module
from aphrodite_engine.loading.plan import CPU_KV_LIMIT, Needs, kv_room, plan_measured, plan_memory
from aphrodite_engine.models.base import kv_tensors
from aphrodite_engine.models.registry import read_model_config
from aphrodite_engine.running.trial_step import trial_batch, trial_step
from tests.engine.inside import CPU, engine_of
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


def test_a_step_is_larger_on_a_gpu_unless_somebody_says_how_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    budgets = [EngineConfig(device=device).step_tokens for device in ("cpu", "cuda", "cuda:1", "auto")]
    assert budgets == [512, 2048, 2048, 2048]
    assert EngineConfig(device="cuda", max_num_batched_tokens=7).step_tokens == 7


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


# ---- from a step that was run


def test_the_cache_gets_what_a_step_leaves_and_the_share_of_others_stays_free() -> None:
    needs = Needs(weights=20, activations=3, graphs=2, other=1, measured=True)
    assert kv_room(free=90, total=100, share=0.75, needs=needs) == 90 - 25 - 26
    assert kv_room(free=90, total=100, share=1.0, needs=needs) == 90 - 26
    assert kv_room(free=30, total=100, share=0.75, needs=needs) == -21, "others hold more than is left to them"


def test_a_measured_plan_says_so_and_keeps_what_was_free(tiny_folder: Path) -> None:
    estimated, facts = plan_memory(str(tiny_folder)), read_model_config(tiny_folder)
    needs = Needs(estimated.weight_bytes, 5 << 20, 3 << 20, 2 << 20, measured=True)
    plan = plan_measured(estimated, facts, EngineConfig(), needs)
    assert (plan.activation_bytes, plan.graph_bytes, plan.other_bytes) == (5 << 20, 3 << 20, 2 << 20)
    assert (plan.measured, estimated.measured) == (True, False)
    assert plan.free_bytes == estimated.free_bytes
    assert plan.left_bytes == plan.free_bytes - needs.total - plan.kv_bytes
    assert "activations  5.0 MiB at most\nCUDA graphs  3.0 MiB\nCUDA itself  2.0 MiB\n" in str(plan)
    assert "activations  about" in str(estimated)


def test_a_step_that_took_too_much_is_refused_with_the_numbers(tiny_folder: Path) -> None:
    estimated, facts = plan_memory(str(tiny_folder)), read_model_config(tiny_folder)
    needs = Needs(estimated.weight_bytes, estimated.free_bytes, measured=True)
    with pytest.raises(MemoryPlanError, match=r"activations .* do not fit"):
        plan_measured(estimated, facts, EngineConfig(), needs)


@pytest.mark.parametrize(("tokens", "rows", "longest"), [(20, 6, 64), (3, 8, 64), (200, 2, 50), (1, 1, 2)])
def test_the_trial_is_one_of_the_largest_steps_and_stores_nothing(
    tiny: LLM, tokens: int, rows: int, longest: int
) -> None:
    model = engine_of(tiny).runner.model
    batch = trial_batch(tokens, rows, longest, CPU)
    sequences = min(tokens, rows)
    assert len(batch.token_ids) == sequences * min(tokens // sequences, longest)
    assert batch.block_tables.shape == (sequences, -(-longest // 16))
    kv = kv_tensors(model.config, 1, torch.float32, CPU)
    drawn = trial_step(model, batch, kv)
    assert (drawn.shape, drawn.dtype) == ((sequences,), torch.int64)
    assert all(not cache.any() for layer in kv.layers for cache in layer)
