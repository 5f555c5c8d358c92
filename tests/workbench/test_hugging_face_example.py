"""What users have read: the Hugging Face example of the integration guide, with a local folder in place of the id."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import aphrodite_engine.demo

EXAMPLE = """
from aphrodite import LLM, SamplingParams

llm = LLM(
    model=MODEL,
    download_dir="./models",
    trust_remote_code=True
)

# Generate with custom parameters
sampling_params = SamplingParams(
    temperature=0.7,
    top_p=0.9,
    max_tokens=256
)

outputs = llm.generate(["Hello, how are you?"], sampling_params)
"""


@pytest.fixture
def gpt2_folder(tmp_path: Path) -> Path:
    """DialoGPT's architecture, random and small, with the bundled model's tokenizer."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(vocab_size=4096, n_embd=32, n_layer=2, n_head=2, n_positions=512, eos_token_id=1)
    GPT2LMHeadModel(config).save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(aphrodite_engine.demo.path() / name, tmp_path)
    return tmp_path


@pytest.mark.slow
def test_the_example_runs_as_it_is_written(gpt2_folder: Path) -> None:
    names: dict[str, object] = {"MODEL": str(gpt2_folder)}
    exec(EXAMPLE, names)
    with names["llm"]:  # type: ignore[attr-defined]
        (result,) = names["outputs"]  # type: ignore[misc]
        assert result.prompt == "Hello, how are you?"
        assert 1 <= len(result.outputs[0].token_ids) <= 256
        assert result.outputs[0].text == result.text
        assert result.outputs[0].finish_reason in ("stop", "length")
