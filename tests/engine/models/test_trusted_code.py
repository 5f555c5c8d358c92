"""A folder that brings Python code of its own: never run unless asked for by name, and run like any other then."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers

from aphrodite_engine.errors import UnsupportedModelError
from aphrodite_engine.llm import LLM
from aphrodite_engine.params import SamplingParams
from tests.engine.models.checkpoints import VOCAB

_CODE = """
from pathlib import Path

from transformers import LlamaConfig, LlamaForCausalLM

Path(__file__).with_name("ran").touch()


class HomeMadeConfig(LlamaConfig):
    model_type = "home_made"


class HomeMadeForCausalLM(LlamaForCausalLM):
    config_class = HomeMadeConfig
"""


@pytest.fixture
def home_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Llama under a name that only its own code knows."""
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=VOCAB, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    folder = tmp_path / "model"
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    (folder / "home.py").write_text(_CODE)
    settings = json.loads((folder / "config.json").read_text())
    settings |= {
        "model_type": "home_made",
        "architectures": ["HomeMadeForCausalLM"],
        "auto_map": {"AutoConfig": "home.HomeMadeConfig", "AutoModelForCausalLM": "home.HomeMadeForCausalLM"},
    }
    (folder / "config.json").write_text(json.dumps(settings))
    return folder


def ran(home_made: Path) -> bool:
    return any(home_made.parent.rglob("ran"))


def test_untrusted_code_is_refused_and_never_runs(home_made: Path) -> None:
    with pytest.raises(UnsupportedModelError, match="trust_remote_code=True"):
        LLM(home_made)
    assert not ran(home_made)


@pytest.mark.slow
def test_trusted_code_gives_what_the_same_weights_give_without_it(home_made: Path) -> None:
    params = SamplingParams(temperature=0, max_tokens=24, ignore_eos=True)
    with LLM(home_made, trust_remote_code=True, kv_cache_memory=2**22) as llm:
        assert llm.plan.path == "universal"
        found = llm.generate([5, 6, 7, 8], params)[0].token_ids
    assert ran(home_made)
    plain = json.loads((home_made / "config.json").read_text())
    del plain["auto_map"]
    plain |= {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
    (home_made / "config.json").write_text(json.dumps(plain))
    with LLM(home_made, kv_cache_memory=2**22) as llm:
        assert llm.generate([5, 6, 7, 8], params)[0].token_ids == found
