"""One row of a step's logits and everything the sampler may know about it."""

from __future__ import annotations

from dataclasses import dataclass

from aphrodite_engine.constraints.grammar import GrammarState
from aphrodite_engine.params import SamplingParams
from aphrodite_engine.sampling.history import TokenHistory


@dataclass(frozen=True)
class SamplerRow:
    """A sequence about to draw its next token.

    Attributes:
        seed, sequence_index, position: with the purpose of a draw they key its random numbers; `position` is the
            absolute place of the token to be drawn (prompt length + output tokens so far).
        num_output: output tokens so far.
        banned_until_min: EOS and stop ids, impossible until min_tokens output tokens.
        grammar: where the sequence is in the grammar it must follow.
    """

    params: SamplingParams
    seed: int
    sequence_index: int
    position: int
    num_output: int
    banned_until_min: tuple[int, ...]
    history: TokenHistory | None
    grammar: GrammarState | None = None
