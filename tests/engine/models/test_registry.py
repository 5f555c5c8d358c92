"""What read_model_config says of a folder, and which models it refuses, by name and with a reason."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from aphrodite_engine.errors import ModelError, UnsupportedModelError
from aphrodite_engine.models.base import KVLayerSpec, LoadOptions
from aphrodite_engine.models.registry import load_decoder, load_encoder, read_model_config
from tests.engine.models.checkpoints import REFUSED
from tests.engine.models.conftest import Checkpoint
from tests.engine.models.harness import CPU


def _changed(checkpoint: Checkpoint, tmp_path: Path, kind: str, **changes: Any) -> Path:
    folder = Path(shutil.copytree(checkpoint(kind), tmp_path / "model"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    return folder


def test_facts_of_a_fast_model(checkpoint: Checkpoint) -> None:
    config = read_model_config(checkpoint("llama_tied"), torch.bfloat16)
    assert (config.architecture, config.path, config.vocab_size) == ("LlamaForCausalLM", "fast", 128)
    assert config.kv_layers == (KVLayerSpec(2, 16),) * 2
    assert config.num_parameters == 128 * 64 + 2 * (64 * 64 * 2 + 2 * 32 * 64 + 3 * 64 * 96 + 2 * 64) + 64
    assert config.weight_bytes == 2 * config.num_parameters
    assert (config.max_position, config.eos_token_ids, config.dtype) == (512, (2,), torch.float32)


def test_facts_of_a_universal_model(checkpoint: Checkpoint) -> None:
    config = read_model_config(checkpoint("gemma3"))
    assert (config.architecture, config.path) == ("Gemma3ForCausalLM", "universal")
    assert config.kv_layers == (KVLayerSpec(2, 16),) * 2
    assert (config.vocab_size, config.hidden_size, config.num_layers, config.max_position) == (128, 64, 2, 512)


def test_end_of_text_ids_come_from_both_files(checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = _changed(checkpoint, tmp_path, "llama", eos_token_id=2)
    (folder / "generation_config.json").write_text('{"eos_token_id": [7, 5]}')
    assert read_model_config(folder).eos_token_ids == (7, 5, 2)
    (folder / "generation_config.json").write_text('{"eos_token_id": "</s>"}')
    with pytest.raises(ModelError, match="eos_token_id must be token ids"):
        read_model_config(folder)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("falcon", "FalconForCausalLM can't run here"),
        ("bloom", "BloomForCausalLM can't run here: its attention never calls ours"),
        ("gptj", "GPTJForCausalLM can't run here"),
        ("gpt_oss", "GptOssForCausalLM can't run here: its attention asks for s_aux"),
        ("mamba", "MambaForCausalLM can't run here: its attention never calls ours"),
    ],
)
def test_models_whose_attention_is_not_ours_are_refused(checkpoint: Checkpoint, kind: str, reason: str) -> None:
    assert kind in REFUSED
    with pytest.raises(UnsupportedModelError, match=reason):
        read_model_config(checkpoint(kind))


def test_an_unknown_architecture_is_refused_with_what_is_supported(checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = _changed(checkpoint, tmp_path, "llama", architectures=["T5ForConditionalGeneration"])
    with pytest.raises(UnsupportedModelError, match=r"'T5ForConditionalGeneration' is not supported.*Qwen3ForCausalLM"):
        read_model_config(folder)
    folder = _changed(checkpoint, tmp_path / "2", "llama", architectures=None)
    with pytest.raises(ModelError, match="no `architectures`"):
        read_model_config(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quantization_config": {"quant_method": "gptq"}}, "quantised with 'gptq'"),
        ({"dtype": "int4"}, "dtype 'int4' is not one of float32, float16, bfloat16"),
        ({"hidden_size": "64"}, "hidden_size must be a positive integer, not '64'"),
        ({"num_hidden_layers": 0}, "num_hidden_layers must be a positive integer"),
        ({"num_key_value_heads": 3}, "4 heads can't share 3 key-value heads"),
    ],
)
def test_settings_that_can_not_be_right_are_refused(
    checkpoint: Checkpoint, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        read_model_config(_changed(checkpoint, tmp_path, "llama", **changes))


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("gemma2", {"hidden_size": "64"}, "transformers can't read it"),
        ("gpt2", {"architectures": ["OPTForCausalLM"]}, "its model_type 'gpt2' is that of GPT2LMHeadModel"),
        ("gpt2", {"n_head": 7}, "GPT2LMHeadModel can't run here: transformers can't build it"),
        ("gemma2", {"head_dim": 12}, r"can't run here: heads of size query 12, key 12, value 12; ours are"),
        ("llama", {"head_dim": 12}, r"can't run here: heads of size query 12"),
        ("gpt2", {"n_inner": 32}, r"transformers can't load it|another shape"),
        ("gpt2", {"n_layer": 3}, r"tensors are missing: .*and \d+ more"),
        ("gpt2", {"n_layer": 1}, r"no place for: .*and \d+ more"),
        ("bert", {"intermediate_size": 32}, r"transformers can't load it|another shape"),
        ("bert", {"hidden_size": None}, "hidden_size must be a positive integer, not None"),
        ("bert", {"num_attention_heads": "x"}, "transformers can't read it"),
    ],
)
def test_models_of_transformers_that_do_not_fit_are_refused_too(
    checkpoint: Checkpoint, tmp_path: Path, kind: str, changes: dict[str, Any], message: str
) -> None:
    folder = _changed(checkpoint, tmp_path, kind, **changes)
    options = LoadOptions(CPU, torch.float32)
    with pytest.raises(ModelError, match=message) as error:
        config = read_model_config(folder)
        load_encoder(config, options) if config.path == "encoder" else load_decoder(config, options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("llama", {"hidden_act": "gelu"}),
        ("llama", {"rope_parameters": {"rope_type": "proportional", "rope_theta": 1e4, "partial_rotary_factor": 0.5}}),
    ],
)
def test_what_the_fast_path_lacks_takes_the_universal_path(
    checkpoint: Checkpoint, tmp_path: Path, kind: str, changes: dict[str, Any]
) -> None:
    assert read_model_config(_changed(checkpoint, tmp_path, kind, **changes)).path == "universal"


def test_the_older_way_to_write_rope_is_read_too(checkpoint: Checkpoint, tmp_path: Path) -> None:
    from aphrodite_engine.models.folder import open_model_folder
    from aphrodite_engine.models.llama_family import llama_family

    new = llama_family(open_model_folder(checkpoint("llama_llama3_rope"))).rope
    scaling = {key: value for key, value in new.items() if key not in ("rope_theta", "rope_type")}
    older = {"rope_parameters": None, "rope_theta": 10000.0, "rope_scaling": scaling | {"type": "llama3"}}
    folder = _changed(checkpoint, tmp_path, "llama", **older)
    old = llama_family(open_model_folder(folder)).rope
    assert {key: old[key] for key in new} == new


def test_longrope_ends_where_it_would_change_every_position(checkpoint: Checkpoint, tmp_path: Path) -> None:
    rope = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 8, "long_factor": [4.0] * 8}
    folder = _changed(checkpoint, tmp_path, "phi3", rope_parameters=rope, original_max_position_embeddings=128)
    config = read_model_config(folder)
    assert config.max_position == 128
    load_decoder(config, LoadOptions(CPU, torch.float32))


def test_encoders_embed_and_decoders_generate(checkpoint: Checkpoint) -> None:
    options = LoadOptions(CPU, torch.float32)
    with pytest.raises(UnsupportedModelError, match="BertModel is an encoder"):
        load_decoder(read_model_config(checkpoint("bert")), options)
    with pytest.raises(UnsupportedModelError, match="LlamaForCausalLM is not an encoder"):
        load_encoder(read_model_config(checkpoint("llama")), options)


@pytest.mark.slow
def test_the_fast_path_starts_without_transformers(checkpoint: Checkpoint) -> None:
    code = (
        "import sys, torch; from pathlib import Path; from aphrodite_engine.models import base, registry\n"
        "config = registry.read_model_config(Path(sys.argv[1]))\n"
        "registry.load_decoder(config, base.LoadOptions(torch.device('cpu'), torch.float32))\n"
        "assert 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(checkpoint("llama"))], check=True)
