"""One row of a step's logits and everything the sampler may know about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aphrodite_engine.constraints.grammar import GrammarState
from aphrodite_engine.params import SamplingParams
from aphrodite_engine.sampling.history import TokenHistory
from aphrodite_engine.sampling.suffixes import SuffixMatches
from aphrodite_kernels.draw import Ask


@dataclass(frozen=True)
class SamplerRow:
    """A sequence about to draw its next token.

    Attributes:
        seed, sequence_index, position: with the purpose of a draw they key its random numbers; `position` is the
            absolute place of the token to be drawn (prompt length + output tokens so far).
        token_ids: prompt and output; num_output: how many of them are output. In a step that was launched before the
            last one was read, `token_ids` lacks the last token, which `position` and `num_output` count.
        banned_until_min: EOS and stop ids, impossible until min_tokens output tokens.
        history: counts of its tokens, where a step asks for them.
        suffixes: where it repeats itself, where a step asks for it.
        breakers: (V,) bool, the tokens that end a repetition for DRY.
        bad_words: ids of each text that must not come.
        feedback: what mirostat or adaptive_p remember of earlier draws; None before the first.
        grammar: where the sequence is in the grammar it must follow.
        taken_back: ids that were drawn here and led to a banned phrase.
        attempt: how often a token was drawn here before; it too keys the random numbers.
        forced: a token that is given and not drawn; a sampler that learns from draws learns from it.
        ask: for one op in place of steps, where Triton runs; see `aphrodite_engine.sampling.fused`.
    """

    params: SamplingParams
    seed: int
    sequence_index: int
    position: int
    token_ids: Sequence[int]
    num_output: int
    banned_until_min: tuple[int, ...]
    history: TokenHistory | None
    suffixes: SuffixMatches | None = None
    breakers: np.ndarray | None = None
    bad_words: tuple[tuple[int, ...], ...] = ()
    feedback: tuple[float, ...] | None = None
    grammar: GrammarState | None = None
    taken_back: tuple[int, ...] = ()
    attempt: int = 0
    forced: int | None = None
    ask: Ask | None = None
