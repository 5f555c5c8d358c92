"""Write the folder that the package ships: weights in bfloat16, configuration, tokenizer."""

import json
from pathlib import Path

import chat
import tokenizer as tokenizer_training
import torch
from model import Llama, Shape
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer


def configuration(shape: Shape, tokenizer: Tokenizer) -> dict[str, object]:
    """The contents of `config.json`; the rotary base stands in the new place and, for older readers, in the old one."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        **shape.as_dict(),
        "rope_parameters": {"rope_theta": shape.rope_theta, "rope_type": "default"},
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "attention_dropout": 0.0,
        "tie_word_embeddings": True,
        "initializer_range": 0.02,
        "bos_token_id": tokenizer.token_to_id(chat.BEGIN),
        "eos_token_id": chat.stops(tokenizer),
        "pad_token_id": tokenizer.token_to_id(chat.END),
        "use_cache": True,
        "dtype": "bfloat16",
    }


def generation(tokenizer: Tokenizer) -> dict[str, object]:
    """The contents of `generation_config.json`: a text ends at the end token, an answer at the end of its turn."""
    return {
        "bos_token_id": tokenizer.token_to_id(chat.BEGIN),
        "eos_token_id": chat.stops(tokenizer),
        "pad_token_id": tokenizer.token_to_id(chat.END),
        "do_sample": False,
    }


def weights(model: Llama) -> dict[str, torch.Tensor]:
    """The tensors under their Hugging Face names; the output matrix is the embedding and is not stored twice."""
    return {f"model.{name}": tensor.to(torch.bfloat16).contiguous() for name, tensor in model.state_dict().items()}


def export(model: Llama, tokenizer: Tokenizer, folder: Path) -> None:
    """Write all five files."""
    tokenizer_training.save(tokenizer, folder)
    save_file(weights(model), folder / "model.safetensors", metadata={"format": "pt"})
    # safetensors writes for the owner only; a shipped file is for everyone.
    (folder / "model.safetensors").chmod(0o644)
    for name, content in (
        ("config.json", configuration(model.shape, tokenizer)),
        ("generation_config.json", generation(tokenizer)),
    ):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")


def load(folder: Path) -> Llama:
    """The exported model back in plain torch, in float32."""
    stored = json.loads((folder / "config.json").read_text())
    shape = Shape(**{name: stored[name] for name in Shape().as_dict()})
    model = Llama(shape)
    model.load_state_dict(
        {name.removeprefix("model."): tensor for name, tensor in load_file(folder / "model.safetensors").items()}
    )
    return model.float().eval()
