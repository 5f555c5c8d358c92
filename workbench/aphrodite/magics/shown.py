"""A generation that streamed below its cell."""

from __future__ import annotations

from collections.abc import Callable

from aphrodite.display.generation import Generation


class Shown(Generation):
    """As the value of the cell that streamed it, it is not shown a second time; anywhere else it is.

    Args:
        cell: the number of the cell that runs.
    """

    def __init__(self, generation: Generation, cell: Callable[[], int]) -> None:
        super().__init__(generation.result, generation.model, generation.params, generation.shade)
        self._cell, self._born = cell, cell()

    def _ipython_display_(self) -> None:
        if self._cell() != self._born:
            raise NotImplementedError  # IPython goes on with the usual ways
