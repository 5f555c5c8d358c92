"""A tiny random Llama written by hand: quick enough to make one for every test that needs its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

SPECIALS = ("<s>", "</s>", "<|user|>", "<|assistant|>")
BOS, EOS = 256, 257
VOCAB = 256 + len(SPECIALS) + 4  # the last four ids have no text, as in models whose vocabulary is padded
TEMPLATE = (
    "<s>{% for message in messages %}<|user|>{{ message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": VOCAB, "hidden_size": 64,
    "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 16, "max_position_embeddings": 256, "rope_theta": 10000.0, "rms_norm_eps": 1e-5, "hidden_act": "silu",
    "tie_word_embeddings": False, "bos_token_id": BOS, "eos_token_id": EOS, "dtype": "float32",
}  # fmt: skip


def write_tiny_llama(
    folder: Path, *, tokenizer: bool = True, chat_template: str | None = TEMPLATE, seed: int = 7, **config: Any
) -> Path:
    """Write config.json, model.safetensors and, where asked for, a byte-level tokenizer. Returns `folder`."""
    settings = CONFIG | config
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(settings))
    save_file(_weights(settings, seed), folder / "model.safetensors", metadata={"format": "pt"})
    if tokenizer:
        byte_tokenizer().save(str(folder / "tokenizer.json"))
        tokens: dict[str, Any] = {"bos_token": "<s>", "eos_token": "</s>"}
        if chat_template is not None:
            tokens["chat_template"] = chat_template
        (folder / "tokenizer_config.json").write_text(json.dumps(tokens))
    return folder


def byte_tokenizer() -> Tokenizer:
    """Every byte is a token, so every text and every broken piece of UTF-8 can be drawn."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={char: place for place, char in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in SPECIALS])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", BOS)])
    return tokenizer


def _weights(config: dict[str, Any], seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    hidden, inner, vocab = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    heads, kv_heads = (config[name] * config["head_dim"] for name in ("num_attention_heads", "num_key_value_heads"))
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocab, hidden)}
    for index in range(config["num_hidden_layers"]):
        layer = f"model.layers.{index}"
        shapes |= {
            f"{layer}.self_attn.q_proj.weight": (heads, hidden),
            f"{layer}.self_attn.k_proj.weight": (kv_heads, hidden),
            f"{layer}.self_attn.v_proj.weight": (kv_heads, hidden),
            f"{layer}.self_attn.o_proj.weight": (hidden, heads),
            f"{layer}.mlp.gate_proj.weight": (inner, hidden),
            f"{layer}.mlp.up_proj.weight": (inner, hidden),
            f"{layer}.mlp.down_proj.weight": (hidden, inner),
            f"{layer}.input_layernorm.weight": (hidden,),
            f"{layer}.post_attention_layernorm.weight": (hidden,),
        }
    shapes |= {"model.norm.weight": (hidden,), "lm_head.weight": (vocab, hidden)}
    # Norms near 1, the rest wide enough that a drawn token depends on all of its context.
    return {
        name: torch.randn(shape, generator=generator) * 0.2 + (1.0 if len(shape) == 1 else 0.0)
        for name, shape in shapes.items()
    }
