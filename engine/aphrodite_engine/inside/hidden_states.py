"""Hidden states of a prompt: how they are asked for, and what comes back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from aphrodite_engine.errors import ParameterError
from aphrodite_engine.inside.steering import checked_layer

#: Of each layer, arrays with a row for every token.
ByLayer = Mapping[int, tuple[np.ndarray, ...]]


@dataclass(frozen=True)
class LensView:
    """What the lens tells of every state.

    Attributes:
        top: how many of the likeliest tokens.
        follow: ids whose probability and rank are told wherever they stand.
    """

    top: int
    follow: tuple[int, ...] = ()


@dataclass(frozen=True)
class Capture:
    """Asks for the states of a prompt's tokens after some layers; no token is drawn.

    Attributes:
        layers: from 0.
        lens: what to read from the states, in place of the states themselves.
    """

    layers: tuple[int, ...]
    lens: LensView | None = None


@dataclass(frozen=True)
class HiddenStates:
    """States of one prompt.

    Attributes:
        layers: layer -> (tokens, hidden) float32, the residual stream as it leaves that layer (what steering adds there
            included). transformers' output_hidden_states has it at index layer + 1 (0 are the embeddings), but for its
            last entry, which is behind the final norm: that is `final`.
        final: (tokens, hidden) float32, behind the final norm: what the head turns into logits; of encoders, which
            have no such norm, their last layer.
        tokens: text of each token.
    """

    layers: Mapping[int, np.ndarray]
    final: np.ndarray
    token_ids: tuple[int, ...]
    tokens: tuple[str, ...]

    def __repr__(self) -> str:
        layers = ", ".join(map(str, self.layers))
        return f"HiddenStates({len(self.token_ids)} tokens x {self.final.shape[1]}, after layers {layers})"


def checked_layers(layers: object, num_layers: int) -> tuple[int, ...]:
    """Numbers from 0, each once, in the order given; None is all.

    Raises:
        ParameterError: no such layer, or none at all.
    """
    if layers is None:
        return tuple(range(num_layers))
    if isinstance(layers, str | bytes | Mapping) or not isinstance(layers, Iterable):
        raise ParameterError("layers", layers, "a list of layer numbers; None is every layer")
    checked = tuple(dict.fromkeys(checked_layer("layers", layer, num_layers) for layer in layers))
    if not checked:
        raise ParameterError("layers", layers, "at least one layer; None is every layer")
    return checked


def joined(parts: Sequence[ByLayer]) -> ByLayer:
    """Chunks of a prompt, one after the other, as the whole."""
    return {
        layer: tuple(np.concatenate(kind) for kind in zip(*(part[layer] for part in parts), strict=True))
        for layer in parts[0]
    }
