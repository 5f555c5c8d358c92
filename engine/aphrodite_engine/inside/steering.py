"""Vectors added to a model's residual stream: plain data, checked, and what a whole step makes of several of them."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from aphrodite_engine.errors import ParameterError

#: Half-open ranges of positions, ascending and apart; None is all.
Spans = tuple[tuple[int, int], ...] | None

#: Little-endian, as it travels.
_FLOAT32 = np.dtype("<f4")


@dataclass(frozen=True)
class Steer:
    """One vector: `scale * vector` is added to the residual stream after `layer`, at `positions`.

    Attributes:
        layer: from 0.
        vector: (hidden,) float32, little-endian bytes.
        positions: of tokens in prompt and output together, the prompt's first being 0.
    """

    layer: int
    vector: bytes
    scale: float = 1.0
    positions: Spans = None

    @property
    def scaled(self) -> np.ndarray:
        """scale * vector in float64."""
        return self.scale * np.frombuffer(self.vector, _FLOAT32).astype(np.float64)

    def to_json(self) -> dict[str, Any]:
        """For a file: the vector is base64 of float32."""
        spans = None if self.positions is None else [list(span) for span in self.positions]
        vector = base64.b64encode(self.vector).decode()
        return {"layer": self.layer, "scale": self.scale, "vector": vector, "positions": spans}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Steer:
        """What to_json wrote; whether it fits a model is checked when it is used."""
        spans = data["positions"]
        positions = None if spans is None else tuple((int(start), int(stop)) for start, stop in spans)
        vector = base64.b64decode(data["vector"], validate=True)
        return cls(int(data["layer"]), vector, float(data["scale"]), positions)


@dataclass(frozen=True)
class Push:
    """What is added after a layer in the end: a vector (hidden,) float32 at some positions."""

    layer: int
    positions: Spans
    vector: np.ndarray

    def rows(self, start: int, length: int) -> Iterator[slice]:
        """Of a chunk of tokens `start` to `start + length`, those that are pushed, counted from the chunk's first."""
        for first, stop in ((start, start + length),) if self.positions is None else self.positions:
            low, high = max(first, start), min(stop, start + length)
            if low < high:
                yield slice(low - start, high - start)


@dataclass(frozen=True)
class Steering:
    """All that steers a request, in the order in which it was asked for."""

    steers: tuple[Steer, ...] = ()

    @cached_property
    def pushes(self) -> tuple[Push, ...]:
        """Vectors of the same layer and positions summed in float64 and rounded once; what adds up to nothing is gone.

        So neither the order of two nested contexts nor a vector and its opposite leave a trace.
        """
        sums: dict[tuple[int, Spans], np.ndarray] = {}
        for steer in self.steers:
            key = (steer.layer, steer.positions)
            sums[key] = sums[key] + steer.scaled if key in sums else steer.scaled
        ordered = sorted(sums, key=lambda key: (key[0], key[1] or ()))
        pushes = (Push(layer, spans, sums[layer, spans].astype(np.float32)) for layer, spans in ordered)
        return tuple(push for push in pushes if push.vector.any())

    @cached_property
    def digest(self) -> bytes:
        """The same for equal pushes, empty where there are none: cached keys and values are told apart by it."""
        if not self.pushes:
            return b""
        digest = hashlib.blake2b(digest_size=16)
        for push in self.pushes:
            digest.update(repr((push.layer, push.positions)).encode() + push.vector.astype(_FLOAT32).tobytes())
        return digest.digest()

    def to_json(self) -> list[dict[str, Any]]:
        return [steer.to_json() for steer in self.steers]

    @classmethod
    def from_json(cls, data: Iterable[Mapping[str, Any]]) -> Steering:
        return cls(tuple(Steer.from_json(item) for item in data))


#: A ContextVar has to be a module's: contexts keep what was ever set in them. Pairs of an owner and what it added.
_entered: ContextVar[tuple[tuple[SteeringContext, Steer], ...]] = ContextVar("aphrodite_steering", default=())


class SteeringContext:
    """What steers the requests of one model where a caller stands: in its thread, and in its task if it has one."""

    @contextlib.contextmanager
    def steered(self, steers: Iterable[Steer]) -> Iterator[None]:
        """Requests admitted within are steered so, on top of what already steers them."""
        token = _entered.set((*_entered.get(), *((self, steer) for steer in steers)))
        try:
            yield
        finally:
            _entered.reset(token)

    @contextlib.contextmanager
    def exactly(self, steering: Steering) -> Iterator[None]:
        """Requests admitted within are steered so, whatever steers others here."""
        others = tuple(entry for entry in _entered.get() if entry[0] is not self)
        token = _entered.set((*others, *((self, steer) for steer in steering.steers)))
        try:
            yield
        finally:
            _entered.reset(token)

    def current(self) -> Steering:
        """What steers a request that is admitted here and now."""
        return Steering(tuple(steer for owner, steer in _entered.get() if owner is self))


def checked_steer(
    layer: object, vector: object, scale: object, positions: object, *, num_layers: int, hidden_size: int
) -> Steer:
    """A Steer that fits a model.

    Raises:
        ParameterError: it does not, or is not finite.
    """
    steer = Steer(
        checked_layer("layer", layer, num_layers),
        _checked_vector(vector, hidden_size),
        _checked_scale(scale),
        _checked_positions(positions),
    )
    if np.abs(steer.scaled).max(initial=0.0) > np.finfo(np.float32).max:
        raise ParameterError("scale", scale, "scale * vector within float32")
    return steer


def checked_layer(name: str, layer: object, num_layers: int) -> int:
    """A layer's number from 0; negative ones count from the end.

    Raises:
        ParameterError: there is no such layer.
    """
    if isinstance(layer, bool) or not isinstance(layer, int | np.integer) or not -num_layers <= layer < num_layers:
        allowed = f"this model has layers 0 to {num_layers - 1}; -1 is the last, -{num_layers} the first"
        raise ParameterError(name, layer, allowed)
    return int(layer) % num_layers


def _checked_vector(vector: object, hidden_size: int) -> bytes:
    allowed = f"{hidden_size} real numbers, as this model's hidden states have: an array, a tensor or a list"
    if hasattr(vector, "detach"):  # a tensor; results carry steerings to where there is no torch
        tensor: Any = vector.detach().cpu()  # type: ignore[attr-defined]
        vector = (tensor.double() if tensor.is_floating_point() else tensor).numpy()
    try:
        values = np.asarray(vector)
    except ValueError as error:  # lists of different lengths
        raise ParameterError("vector", vector, allowed) from error
    if values.dtype.kind not in "fiu" or values.shape != (hidden_size,):
        raise ParameterError("vector", f"{values.dtype} of shape {values.shape}", allowed)
    with np.errstate(over="ignore"):
        narrow = values.astype(_FLOAT32)
    if not np.isfinite(narrow).all():
        place = int(np.flatnonzero(~np.isfinite(narrow))[0])
        raise ParameterError(f"vector[{place}]", float(values[place]), "finite numbers within float32")
    return narrow.tobytes()


def _checked_scale(scale: object) -> float:
    if isinstance(scale, bool) or not isinstance(scale, int | float | np.number) or not math.isfinite(scale):
        raise ParameterError("scale", scale, "a finite number; 0 steers nothing")
    return float(scale)


def _checked_positions(positions: object) -> Spans:
    """Spans of a range or of numbers in any order."""
    allowed = "positions of tokens from 0, as a range or a list; None is every one"
    if positions is None:
        return None
    if not isinstance(positions, Iterable) or isinstance(positions, str | bytes | Mapping):
        raise ParameterError("positions", positions, allowed)
    if isinstance(positions, range) and positions.step == 1 and positions.start >= 0:
        return ((positions.start, positions.stop),) if positions else ()
    listed = list(positions)
    for position in listed:
        if isinstance(position, bool) or not isinstance(position, int | np.integer) or position < 0:
            raise ParameterError("positions", position, allowed)
    return _spans(sorted({int(position) for position in listed}))


def _spans(positions: list[int]) -> tuple[tuple[int, int], ...]:
    spans: list[tuple[int, int]] = []
    for position in positions:
        if spans and spans[-1][1] == position:
            spans[-1] = (spans[-1][0], position + 1)
        else:
            spans.append((position, position + 1))
    return tuple(spans)
