"""From a model folder to the path that runs it: the fast decoder, the universal one, or an encoder.

transformers is imported only where the folder needs it: a Llama-family model starts without its 1.3 seconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from aphrodite_engine.errors import ModelError, UnsupportedModelError
from aphrodite_engine.models.base import Decoder, Encoder, KVLayerSpec, LoadOptions, ModelConfig
from aphrodite_engine.models.llama_family import FAST_ARCHITECTURES, LlamaFamily, llama_family, obstacle
from aphrodite_engine.weights import open_checkpoint, read_json

ENCODER_ARCHITECTURES = (
    "BertModel", "BertForMaskedLM", "RobertaModel", "RobertaForMaskedLM", "XLMRobertaModel", "XLMRobertaForMaskedLM",
)  # fmt: skip
_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def read_model_config(folder: Path, dtype: torch.dtype | None = None, trust_remote_code: bool = False) -> ModelConfig:
    """The facts of a model folder, from config.json and the safetensors headers; no weight is read.

    Args:
        dtype: what the weights will be held in, for `weight_bytes`; None is config.json's own.
        trust_remote_code: allow config.json to name Python code of the folder (`auto_map`), which then runs.

    Raises:
        ModelError: the folder or a file in it is missing, damaged or unsafe.
        UnsupportedModelError: the architecture, quantisation or custom code is not supported.
    """
    if not folder.is_dir():
        raise ModelError(f"no folder {folder}")
    config = read_json(folder, "config.json")
    _refuse_what_is_unsafe_or_unknown(folder, config, trust_remote_code)
    architecture = _architecture(folder, config)
    if architecture in ENCODER_ARCHITECTURES:
        from aphrodite_engine.models.encoder import read_encoder_config

        return read_encoder_config(folder, architecture, dtype or _config_dtype(folder, config))
    if architecture in FAST_ARCHITECTURES:
        family = llama_family(folder, architecture, config)
        if obstacle(family, config) is None:
            return _fast_config(folder, architecture, family, config, dtype)
    from aphrodite_engine.models.universal import read_universal_config

    eos = eos_token_ids(folder, config)
    return read_universal_config(folder, architecture, dtype or _config_dtype(folder, config), eos, trust_remote_code)


def load_decoder(config: ModelConfig, options: LoadOptions) -> Decoder:
    """Bring a causal language model into memory.

    Raises:
        ModelError: the weights do not fit config.json, or are damaged.
        UnsupportedModelError: an encoder, or a model that the universal path can't run faithfully.
    """
    if config.path == "fast":
        from aphrodite_engine.models.decoder import LlamaDecoder

        family = llama_family(config.folder, config.architecture, read_json(config.folder, "config.json"))
        return LlamaDecoder(config, family, options)
    if config.path == "universal":
        from aphrodite_engine.models.universal import UniversalDecoder

        return UniversalDecoder(config, options)
    raise UnsupportedModelError(f"{config.architecture} is an encoder: it embeds text and does not generate it")


def load_encoder(config: ModelConfig, options: LoadOptions) -> Encoder:
    """Bring an embedding model into memory.

    Raises:
        ModelError: the weights do not fit config.json, or are damaged.
        UnsupportedModelError: not an encoder (embeddings of a decoder are pooled from its hidden states).
    """
    if config.path != "encoder":
        raise UnsupportedModelError(f"{config.architecture} is not an encoder; encoders: {_list(ENCODER_ARCHITECTURES)}")
    from aphrodite_engine.models.encoder import TransformersEncoder

    return TransformersEncoder(config, options)


def eos_token_ids(folder: Path, config: Mapping[str, Any]) -> tuple[int, ...]:
    """The ids that end a text: generation_config.json's, then those that only config.json has."""
    sources = [config]
    if (folder / "generation_config.json").exists():
        sources.insert(0, read_json(folder, "generation_config.json"))
    ids: list[int] = []
    for source in sources:
        value = source.get("eos_token_id")
        ids.extend(value if isinstance(value, list) else [] if value is None else [value])
    if not all(type(token_id) is int and token_id >= 0 for token_id in ids):
        raise ModelError(f"{folder}: eos_token_id must be token ids, not {ids!r}")
    return tuple(dict.fromkeys(ids))


def _fast_config(
    folder: Path, architecture: str, family: LlamaFamily, config: Mapping[str, Any], dtype: torch.dtype | None
) -> ModelConfig:
    tensors = open_checkpoint(folder).tensors
    counted = [name for name in tensors if not (family.tied and name == "lm_head.weight")]
    num_parameters = sum(math.prod(tensors[name].shape) for name in counted)
    own_dtype = _config_dtype(folder, config)
    return ModelConfig(
        folder=folder,
        architecture=architecture,
        path="fast",
        vocab_size=family.vocab_size,
        hidden_size=family.hidden_size,
        num_layers=family.num_layers,
        max_position=family.max_position,
        kv_layers=(KVLayerSpec(family.num_kv_heads, family.head_dim),) * family.num_layers,
        num_parameters=num_parameters,
        weight_bytes=num_parameters * (dtype or own_dtype).itemsize,
        eos_token_ids=eos_token_ids(folder, config),
        dtype=own_dtype,
    )


def _refuse_what_is_unsafe_or_unknown(folder: Path, config: Mapping[str, Any], trust_remote_code: bool) -> None:
    if config.get("auto_map") and not trust_remote_code:
        raise UnsupportedModelError(
            f"{folder}/config.json names Python code of its own (auto_map), which would run on this machine; "
            "pass trust_remote_code=True if you trust it"
        )
    if config.get("quantization_config"):
        method = config["quantization_config"]
        method = method.get("quant_method") if isinstance(method, dict) else method
        raise UnsupportedModelError(f"{folder}/config.json: weights quantised with {method!r} are not supported")


def _architecture(folder: Path, config: Mapping[str, Any]) -> str:
    architectures = config.get("architectures")
    if not isinstance(architectures, list) or not architectures or not isinstance(architectures[0], str):
        raise ModelError(f"{folder}/config.json: no `architectures`, so there is no telling what model it is")
    return architectures[0]


def _config_dtype(folder: Path, config: Mapping[str, Any]) -> torch.dtype:
    name = config.get("dtype") or config.get("torch_dtype") or "float32"
    dtype = _DTYPES.get(str(name).removeprefix("torch."))
    if dtype is None:
        raise ModelError(f"{folder}/config.json: dtype {name!r} is not one of {_list(_DTYPES)}")
    return dtype


def _list(names: Any) -> str:
    return ", ".join(names)
