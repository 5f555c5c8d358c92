"""From a model folder to the path that runs it: the fast decoder, the universal one, or an encoder.

transformers is imported only where the folder needs it: a Llama-family model starts without its 1.3 seconds.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch

from aphrodite_engine.errors import UnsupportedModelError
from aphrodite_engine.loading.weights import open_checkpoint
from aphrodite_engine.models.base import Decoder, Encoder, KVLayerSpec, LoadOptions, ModelConfig
from aphrodite_engine.models.folder import ModelFolder, open_model_folder
from aphrodite_engine.models.llama_family import FAST_ARCHITECTURES, LlamaFamily, llama_family, obstacle

ENCODER_ARCHITECTURES = (
    "BertModel", "BertForMaskedLM", "RobertaModel", "RobertaForMaskedLM", "XLMRobertaModel", "XLMRobertaForMaskedLM",
)  # fmt: skip


def read_model_config(path: Path, dtype: torch.dtype | None = None, trust_remote_code: bool = False) -> ModelConfig:
    """The facts of a model folder, from config.json and the safetensors headers; no weight is read.

    Args:
        dtype: what the weights will be held in, for `weight_bytes`; None is config.json's own.
        trust_remote_code: allow config.json to name Python code of the folder (`auto_map`), which then runs.

    Raises:
        ModelError: the folder or a file in it is missing, damaged or unsafe.
        UnsupportedModelError: the architecture, quantisation or custom code is not supported.
    """
    folder = open_model_folder(path, trust_remote_code)
    held_as = dtype or folder.dtype
    if folder.architecture in ENCODER_ARCHITECTURES:
        from aphrodite_engine.models.encoder import read_encoder_config

        return read_encoder_config(folder, held_as)
    if folder.architecture in FAST_ARCHITECTURES:
        family = llama_family(folder)
        if obstacle(family, folder.config) is None:
            return _fast_config(folder, family, held_as)
    from aphrodite_engine.models.universal import read_universal_config

    return read_universal_config(folder, held_as)


def load_decoder(config: ModelConfig, options: LoadOptions) -> Decoder:
    """Bring a causal language model into memory.

    Raises:
        ModelError: the weights do not fit config.json, or are damaged.
        UnsupportedModelError: an encoder, or a model that the universal path can't run faithfully.
    """
    folder = open_model_folder(config.folder, options.trust_remote_code)
    if config.path == "fast":
        from aphrodite_engine.models.decoder import LlamaDecoder

        return LlamaDecoder(config, llama_family(folder), options)
    if config.path == "universal":
        from aphrodite_engine.models.universal import UniversalDecoder

        return UniversalDecoder(config, folder, options)
    raise UnsupportedModelError(f"{config.architecture} is an encoder: it embeds text and does not generate it")


def load_encoder(config: ModelConfig, options: LoadOptions) -> Encoder:
    """Bring an embedding model into memory.

    Raises:
        ModelError: the weights do not fit config.json, or are damaged.
        UnsupportedModelError: not an encoder (embeddings of a decoder are pooled from its hidden states).
    """
    if config.path != "encoder":
        known = ", ".join(ENCODER_ARCHITECTURES)
        raise UnsupportedModelError(f"{config.architecture} is not an encoder; encoders: {known}")
    from aphrodite_engine.models.encoder import TransformersEncoder

    return TransformersEncoder(config, open_model_folder(config.folder, options.trust_remote_code), options)


def _fast_config(folder: ModelFolder, family: LlamaFamily, held_as: torch.dtype) -> ModelConfig:
    tensors = open_checkpoint(folder.path).tensors
    counted = [name for name in tensors if not (family.tied and name == "lm_head.weight")]
    num_parameters = sum(math.prod(tensors[name].shape) for name in counted)
    return ModelConfig(
        folder=folder.path,
        architecture=folder.architecture,
        path="fast",
        vocab_size=family.vocab_size,
        hidden_size=family.hidden_size,
        num_layers=family.num_layers,
        max_position=family.max_position,
        kv_layers=(KVLayerSpec(family.num_kv_heads, family.head_dim),) * family.num_layers,
        num_parameters=num_parameters,
        weight_bytes=num_parameters * held_as.itemsize,
        eos_token_ids=folder.eos_token_ids,
        dtype=folder.dtype,
    )
