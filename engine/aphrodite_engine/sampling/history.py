"""What a sequence has said so far, in the form the penalties need; kept only for requests that use them."""

from __future__ import annotations

from collections.abc import Sequence

import torch


class TokenHistory:
    """Counts of one sequence's tokens.

    Attributes:
        seen: (V,) bool, ids that occur in prompt or output.
        counts: (V,) float32, how often each id occurs in the output.
    """

    def __init__(self, vocab_size: int, prompt: Sequence[int], output: Sequence[int], device: torch.device) -> None:
        self.seen = torch.zeros(vocab_size, dtype=torch.bool, device=device)
        self.counts = torch.zeros(vocab_size, dtype=torch.float32, device=device)
        self._prompt = prompt
        self.seen[torch.tensor(prompt, dtype=torch.int64, device=device)] = True
        for token_id in output:
            self.add(token_id)

    def add(self, token_id: int) -> None:
        """Record one output token."""
        self.seen[token_id] = True
        self.counts[token_id] += 1

    def remove(self, token_id: int) -> None:
        """Forget one output token."""
        self.counts[token_id] -= 1
        self.seen[token_id] = token_id in self._prompt or bool(self.counts[token_id])
