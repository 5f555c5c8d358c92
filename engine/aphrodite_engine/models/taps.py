"""Where research reaches into a forward pass: vectors added to the residual stream, and states kept from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch


@dataclass(frozen=True)
class Addition:
    """A vector (hidden,) float32 that is added to some rows of a step."""

    rows: slice
    vector: torch.Tensor


@dataclass
class Taps:
    """What one step does behind its layers; rows are those of the batch, layers count from 0.

    Attributes:
        additions: by layer. Those of one row are added in the order in which they were asked for.
        kept: by layer, the rows whose states are wanted.
        states: by layer and first row, the states (rows, hidden) float32 that were kept.
    """

    additions: dict[int, list[Addition]] = field(default_factory=dict)
    kept: dict[int, list[slice]] = field(default_factory=dict)
    states: dict[tuple[int, int], torch.Tensor] = field(default_factory=dict)

    @property
    def layers(self) -> set[int]:
        """Those at which anything happens."""
        return self.additions.keys() | self.kept.keys()

    def add(self, layer: int, rows: slice, vector: torch.Tensor) -> None:
        self.additions.setdefault(layer, []).append(Addition(rows, vector))

    def keep(self, layer: int, rows: slice) -> None:
        self.kept.setdefault(layer, []).append(rows)

    def changes(self, layer: int) -> bool:
        """Whether `after` writes into the states of this layer."""
        return layer in self.additions

    def after(self, layer: int, states: torch.Tensor) -> Sequence[slice]:
        """Behind a layer: add to the residual stream (T, hidden) in place, then keep what is wanted of it.

        A sum is rounded to the model's dtype once. Rows that nothing is added to keep their bits.

        Returns:
            The rows that changed.
        """
        additions = self.additions.get(layer, [])
        for addition in additions:
            states[addition.rows] = (states[addition.rows].float() + addition.vector).to(states.dtype)
        for rows in self.kept.get(layer, ()):
            self.states[layer, rows.start] = states[rows].to(torch.float32, copy=True)
        return [addition.rows for addition in additions]
