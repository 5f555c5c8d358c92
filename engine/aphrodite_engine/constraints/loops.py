"""Whether a sequence goes round: the same few tokens, again and again."""

from __future__ import annotations

import numpy as np

from aphrodite_engine.repetition_detection import RepetitionDetection

_NEVER = np.iinfo(np.int64).max


class LoopWatch:
    """Watches one sequence's output: does it end with some pattern so many times in a row?

    A pattern of s tokens came c times when each of the last s (c - 1) tokens equals the one s before it. So one count
    is kept for every s, and a token costs one comparison with each of the last ones, however long the output.
    """

    def __init__(self, asked: RepetitionDetection) -> None:
        sizes = np.arange(asked.max_pattern_size, 0, -1)
        self._last = np.full(asked.max_pattern_size, -1, dtype=np.int64)
        self._equal = np.zeros(asked.max_pattern_size, dtype=np.int64)
        self._enough = np.where(sizes >= asked.min_pattern_size, sizes * (asked.min_count - 1), _NEVER)

    def add(self, token_id: int) -> bool:
        """Take one more token; whether the output goes round with it."""
        self._equal = np.where(self._last == token_id, self._equal + 1, 0)
        self._last = np.append(self._last[1:], token_id)
        return bool((self._equal >= self._enough).any())

    def mark(self) -> tuple[np.ndarray, np.ndarray]:
        """The state now, for `rewind`: arrays are replaced, never changed."""
        return self._last, self._equal

    def rewind(self, mark: tuple[np.ndarray, np.ndarray]) -> None:
        """Back to where `mark` was taken."""
        self._last, self._equal = mark
