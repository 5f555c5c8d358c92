"""BERT-like encoders for embeddings: transformers' modules on all texts in one row, attention within each text.

No padding: texts lie one after another, each with positions of its own, and attention runs once for each text on a
fresh copy of its rows. So a text's vector does not depend on its neighbours, given matmuls that treat rows alike
(strict.py).
"""

from __future__ import annotations

import contextlib
import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import transformers

from aphrodite_engine.errors import ModelError, ParameterError
from aphrodite_engine.loading.weights import open_checkpoint
from aphrodite_engine.models.base import LoadOptions, ModelConfig
from aphrodite_engine.models.folder import ModelFolder
from aphrodite_engine.models.layer_stack import LayerStack
from aphrodite_engine.models.pretrained import load_pretrained, read_pretrained_config
from aphrodite_engine.models.strict import StrictMode
from aphrodite_engine.models.taps import Taps
from aphrodite_engine.params import Pooling

ATTENTION = "aphrodite_texts"
#: Poolers and heads of pretraining, which embeddings do not use, and constants that follow from config.json.
_UNUSED = re.compile(r"(^|\.)pooler\.|^cls\.|^lm_head\.|(^|\.)(position_ids|token_type_ids)$")
#: Rows of one forward pass: bounds the memory, does not change results.
_MAX_ROWS = 8192


def read_encoder_config(folder: ModelFolder, held_as: torch.dtype) -> ModelConfig:
    """The facts of an encoder's folder.

    Raises:
        ModelError: a setting is missing from config.json, or the weights' headers are damaged.
    """
    sizes = ("vocab_size", "hidden_size", "num_hidden_layers", "max_position_embeddings")
    for key in sizes:
        if type(folder.config.get(key)) is not int or folder.config[key] < 1:
            raise ModelError(f"{folder.config_file}: {key} must be a positive integer, not {folder.config.get(key)!r}")
    vocab_size, hidden_size, num_layers, max_position = (folder.config[key] for key in sizes)
    tensors = open_checkpoint(folder.path).tensors
    num_parameters = sum(math.prod(entry.shape) for name, entry in tensors.items() if not _UNUSED.search(name))
    return ModelConfig(
        folder=folder.path,
        architecture=folder.architecture,
        path="encoder",
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        num_layers=num_layers,
        max_position=max_position - _first_position(folder),
        kv_layers=(),
        num_parameters=num_parameters,
        weight_bytes=num_parameters * held_as.itemsize,
        eos_token_ids=folder.eos_token_ids,
        dtype=folder.dtype,
    )


class TransformersEncoder:
    """An encoder in memory (models.base.Encoder)."""

    def __init__(self, config: ModelConfig, folder: ModelFolder, options: LoadOptions) -> None:
        """Load the weights.

        Raises:
            ModelError: the weights do not fit config.json.
        """
        self.config = config
        self._device, self._first_position = options.device, _first_position(folder)
        transformers.AttentionInterface.register(ATTENTION, text_attention)
        hf_config = read_pretrained_config(folder)
        hf_config._attn_implementation = ATTENTION
        model_class = transformers.MODEL_MAPPING[type(hf_config)]
        self._model = load_pretrained(
            model_class, hf_config, folder.path, options, unused=_UNUSED, add_pooling_layer=False
        )
        self._texts = _Texts()
        for module in self._model.modules():
            module.texts = self._texts
        self._strict = StrictMode.over(self._model) if options.determinism == "strict" else None

    @torch.inference_mode()
    def encode(self, sequences: Sequence[Sequence[int]], pooling: Pooling) -> torch.Tensor:
        """Raises ParameterError for a sequence that is empty or longer than the model's positions."""
        for sequence in sequences:
            self._check(sequence)
        vectors = [
            _pool(text, pooling)
            for group in _groups(sequences)
            for text in self._hidden(group).split([len(sequence) for sequence in group])
        ]
        return torch.stack(vectors) if vectors else torch.empty(0, self.config.hidden_size, device=self._device)

    @torch.inference_mode()
    def states(self, sequence: Sequence[int], layers: Sequence[int]) -> dict[int, torch.Tensor]:
        """Raises ParameterError for a sequence that is empty or longer than the model's positions."""
        self._check(sequence)
        taps, rows = Taps(), slice(0, len(sequence))
        for layer in layers:
            taps.keep(layer, rows)
        with LayerStack(list(self._model.encoder.layer)).tapped(taps):
            self._hidden([sequence])
        return {layer: states for (layer, _), states in taps.states.items()}

    def tensors(self) -> Iterator[torch.Tensor]:
        yield from (*self._model.parameters(), *self._model.buffers())
        if self._strict is not None:
            yield from self._strict.tensors()

    def _check(self, sequence: Sequence[int]) -> None:
        if not 1 <= len(sequence) <= self.config.max_position:
            allowed = f"1 to {self.config.max_position} tokens fit {self.config.architecture}"
            raise ParameterError("input", f"{len(sequence)} tokens", allowed)

    def _hidden(self, group: Sequence[Sequence[int]]) -> torch.Tensor:
        """Final hidden states (rows of all texts, hidden)."""
        token_ids = torch.tensor([list(itertools.chain(*group))], device=self._device)
        first = self._first_position
        positions = [list(itertools.chain(*(range(first, first + len(text)) for text in group)))]
        self._texts.lengths = [len(text) for text in group]
        with self._strict or contextlib.nullcontext():
            output = self._model(
                input_ids=token_ids,
                position_ids=torch.tensor(positions, device=self._device),
                token_type_ids=torch.zeros_like(token_ids),
            )
        return output.last_hidden_state[0]


@dataclass
class _Texts:
    """Where the attention modules of one model find how many rows each text of the row has."""

    lengths: Sequence[int] = ()


def text_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' attention function: (1, H, T, D) -> (1, T, H, D), each text attending to itself."""
    texts: _Texts = module.texts  # type: ignore[assignment]
    parts = zip(*(states.split(list(texts.lengths), dim=2) for states in (query, key, value)), strict=True)
    # A StrictMode around the model would refuse this product, which here depends on one text alone.
    with torch._C.DisableTorchFunction():
        attended = [
            torch.nn.functional.scaled_dot_product_attention(*(part.contiguous() for part in text), scale=scaling)
            for text in parts
        ]
        return torch.cat(attended, dim=2).transpose(1, 2), None


def _pool(hidden: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """(T, hidden) of one text -> (hidden,) in float32."""
    match pooling:
        case "mean":
            return hidden.float().mean(dim=0)
        case "cls":
            return hidden[0].float()
        case "last":
            return hidden[-1].float()


def _groups(sequences: Sequence[Sequence[int]]) -> Iterator[list[Sequence[int]]]:
    """The sequences in order, as many at a time as fit _MAX_ROWS (one at least)."""
    group: list[Sequence[int]] = []
    for sequence in sequences:
        if group and sum(map(len, group)) + len(sequence) > _MAX_ROWS:
            yield group
            group = []
        group.append(sequence)
    if group:
        yield group


def _first_position(folder: ModelFolder) -> int:
    """RoBERTa counts positions from the one after its padding id; BERT from 0."""
    return 0 if folder.architecture.startswith("Bert") else folder.config.get("pad_token_id", 1) + 1
