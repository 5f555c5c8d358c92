"""Small random checkpoints of many architectures, written as safetensors by transformers' own save_pretrained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers

VOCAB = 128
_SMALL: dict[str, Any] = {
    "vocab_size": VOCAB, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
_LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
_YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 64}
_LINEAR = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0}
_DYNAMIC = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}
_TWO_ROPES = {
    "sliding_attention": {"rope_type": "default", "rope_theta": 1000.0},
    "full_attention": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0},
}
_EXPERTS: dict[str, Any] = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32}

#: name -> (transformers' config class, what differs from the small default)
FAST: Mapping[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", {}),
    "llama_tied": ("LlamaConfig", {"tie_word_embeddings": True}),
    "llama_llama3_rope": ("LlamaConfig", {"rope_parameters": _LLAMA3}),
    "llama_yarn": ("LlamaConfig", {"rope_parameters": _YARN}),
    "llama_linear": ("LlamaConfig", {"rope_parameters": _LINEAR}),
    "llama_dynamic": ("LlamaConfig", {"rope_parameters": _DYNAMIC}),
    "llama_biases": ("LlamaConfig", {"attention_bias": True, "mlp_bias": True}),
    "llama_head_dim": ("LlamaConfig", {"head_dim": 32}),
    "mistral": ("MistralConfig", {"sliding_window": None}),
    "mistral_window": ("MistralConfig", {"sliding_window": 24}),
    "qwen2": ("Qwen2Config", {"tie_word_embeddings": True}),
    "qwen2_window": (
        "Qwen2Config",
        {"use_sliding_window": True, "sliding_window": 24, "max_window_layers": 1},
    ),
    "qwen3": ("Qwen3Config", {"head_dim": 32}),
    "qwen3_tied_bias": ("Qwen3Config", {"head_dim": 16, "tie_word_embeddings": True, "attention_bias": True}),
}
UNIVERSAL: Mapping[str, tuple[str, dict[str, Any]]] = {
    "llama_gelu": ("LlamaConfig", {"hidden_act": "gelu"}),
    "gpt2": ("GPT2Config", {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 512}),
    "gpt_neox": ("GPTNeoXConfig", {"rotary_pct": 0.5}),
    "phi3": ("Phi3Config", {}),
    "gemma2": ("Gemma2Config", {"head_dim": 16, "sliding_window": 24, "query_pre_attn_scalar": 16}),
    "gemma3": (
        "Gemma3TextConfig",
        {
            "head_dim": 16, "sliding_window": 24, "query_pre_attn_scalar": 16, "rope_parameters": _TWO_ROPES,
            "layer_types": ["sliding_attention", "full_attention"],
        },
    ),
    "olmo2": ("Olmo2Config", {}),
    "granite": ("GraniteConfig", {"attention_multiplier": 0.2, "residual_multiplier": 0.8, "logits_scaling": 2.0}),
    "qwen3_moe": ("Qwen3MoeConfig", {"head_dim": 16, **_EXPERTS, "norm_topk_prob": True}),
    "mixtral": ("MixtralConfig", {"num_local_experts": 4, "sliding_window": None}),
    "stablelm": ("StableLmConfig", {}),
    "opt": ("OPTConfig", {"ffn_dim": 96, "word_embed_proj_dim": 64}),
}  # fmt: skip
#: Causal models whose attention is not transformers' interface, or has terms that ours lacks.
REFUSED: Mapping[str, tuple[str, dict[str, Any]]] = {
    "falcon": ("FalconConfig", {}),
    "bloom": ("BloomConfig", {"n_layer": 2, "n_head": 4}),
    "gptj": ("GPTJConfig", {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 512, "rotary_dim": 16}),
    "gpt_oss": ("GptOssConfig", {"head_dim": 16, "num_local_experts": 4, "sliding_window": 24}),
    "mamba": ("MambaConfig", {"state_size": 8}),
}
ENCODERS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "bert": ("BertConfig", {}),
    "roberta": ("RobertaConfig", {"pad_token_id": 1, "bos_token_id": 0}),
    "xlm_roberta": ("XLMRobertaConfig", {"pad_token_id": 1, "bos_token_id": 0}),
}


def write_checkpoint(
    folder: Path,
    kind: str,
    *,
    dtype: torch.dtype = torch.float32,
    std: float = 0.2,
    changes: Mapping[str, Any] | None = None,
) -> Path:
    """A model of `kind` with seeded weights of this spread, wide enough that greedy choices are not near ties."""
    name, own = {**FAST, **UNIVERSAL, **REFUSED, **ENCODERS}[kind]
    config = getattr(transformers, name)(**{**_SMALL, **own, **(changes or {})})
    torch.manual_seed(7)
    auto = transformers.AutoModel if kind in ENCODERS else transformers.AutoModelForCausalLM
    model = auto.from_config(config, dtype=dtype)
    with torch.no_grad():
        for parameter_name, parameter in sorted(model.named_parameters()):
            centre = 1.0 if parameter.ndim == 1 and "norm" in parameter_name else 0.0
            parameter.normal_(centre, std)
    model.save_pretrained(folder)
    return folder


def reference(folder: Path, dtype: torch.dtype = torch.float32) -> transformers.PreTrainedModel:
    """transformers' own model of the folder, with its eager attention."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=dtype)
    return model.eval()
