"""The tokens of a sequence: what was drawn, how likely it was, what else could have stood there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from aphrodite_engine.outputs import CompletionOutput, PositionLogprobs


@dataclass(frozen=True)
class Alternative:
    """A token that could have stood there: its share of the distribution and its place in it."""

    text: str
    token_id: int
    probability: float
    rank: int


@dataclass(frozen=True)
class Token:
    """One drawn token.

    Attributes:
        text: of this token alone; part of a character shows as a replacement character.
        logprob, probability, rank, entropy: None where logprobs were not asked for.
        alternatives: the most likely tokens and this one, the most likely first.
        entropy: of the whole distribution at its position, nats; 0 is certain.
    """

    text: str
    token_id: int
    logprob: float | None = None
    rank: int | None = None
    alternatives: tuple[Alternative, ...] = ()
    entropy: float | None = None

    @property
    def probability(self) -> float | None:
        return None if self.logprob is None else math.exp(self.logprob)


def tokens_of(output: CompletionOutput) -> list[Token]:
    """The tokens of one sequence, with what was reported of each."""
    if output.logprobs is None:
        return [Token("", token_id) for token_id in output.token_ids]
    return [_token(*each) for each in zip(output.token_ids, output.logprobs, strict=True)]


def _token(token_id: int, position: PositionLogprobs) -> Token:
    drawn = position[token_id]
    candidates = sorted(position.items(), key=lambda item: item[1].rank)
    alternatives = tuple(Alternative(c.decoded_token, i, math.exp(c.logprob), c.rank) for i, c in candidates)
    return Token(drawn.decoded_token, token_id, drawn.logprob, drawn.rank, alternatives, drawn.entropy)


def token_rows(output: CompletionOutput) -> list[dict[str, Any]]:
    """One row a token of the sequence."""
    return [
        {
            "index": output.index,
            "position": position,
            "token_id": token.token_id,
            "token": token.text,
            "logprob": token.logprob,
            "probability": token.probability,
            "rank": token.rank,
            "entropy_nats": token.entropy,
        }
        for position, token in enumerate(tokens_of(output))
    ]
