"""Where a sequence repeats itself: what DRY and no_repeat_ngram ask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class SuffixMatches:
    """For every earlier place of a growing sequence: how long the text up to it and the whole text end alike.

    A new token costs one pass over the sequence, however much of it repeats. It makes new arrays, so that a shallow
    copy keeps what was.

    Attributes:
        token_ids: (n,) int64.
        lengths: (n - 1,) int64; lengths[i] is the length of the longest common end of token_ids[: i + 1] and
            token_ids. What followed there is token_ids[i + 1].
    """

    def __init__(self, token_ids: Sequence[int]) -> None:
        self.token_ids = np.array(token_ids, dtype=np.int64)
        self.lengths = _lengths(self.token_ids)

    def add(self, token_id: int) -> None:
        """Grow by one token."""
        one_shorter = np.concatenate([np.zeros(min(len(self.token_ids), 1), dtype=np.int64), self.lengths])
        self.lengths = np.where(self.token_ids == token_id, one_shorter + 1, 0)
        self.token_ids = np.append(self.token_ids, token_id)


def _lengths(ids: np.ndarray) -> np.ndarray:
    lengths = np.zeros(max(0, len(ids) - 1), dtype=np.int64)
    alive, length = np.arange(len(lengths)), 0
    while len(alive):
        alive = alive[ids[alive - length] == ids[-1 - length]]
        length += 1
        lengths[alive] = length
        alive = alive[alive >= length]
    return lengths
