"""The tokens of a sequence: what was drawn, how likely it was, what else could have stood there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Logprob:
    """One token's log-probability (nats) at a position, its rank (1 is the most likely) and its text.

    Attributes:
        logprob, rank: in the distribution that the request's logprobs_mode names.
        entropy: (nats) of that whole distribution, with the position's own token; None with the others.
        raw_logprob, processed_logprob: of the drawn token in the model's own distribution, and in the one it was drawn
            from; None with the others, and with tokens of a prompt.
    """

    logprob: float
    rank: int
    decoded_token: str
    entropy: float | None = None
    raw_logprob: float | None = None
    processed_logprob: float | None = None


@dataclass(frozen=True)
class Alternative:
    """A token that could have stood there: its share of the distribution and its place in it."""

    text: str
    token_id: int
    probability: float
    rank: int


@dataclass(frozen=True)
class Token:
    """One token of an output. What was not reported is None: all numbers where logprobs were not asked for.

    Attributes:
        position: in the output, from 0.
        text: of this token alone; part of a character shows as a replacement character. "" where it is not known.
        logprob, rank, entropy: in the distribution that logprobs_mode names; the entropy in nats, 0 is certain.
        raw_logprob, processed_logprob: before any step of sampling, and in what the token was drawn from.
        alternatives: the most likely tokens and this one, the most likely first.
    """

    position: int
    token_id: int
    text: str = ""
    logprob: float | None = None
    rank: int | None = None
    entropy: float | None = None
    raw_logprob: float | None = None
    processed_logprob: float | None = None
    alternatives: tuple[Alternative, ...] = ()

    @property
    def probability(self) -> float | None:
        return _probability(self.logprob)

    @property
    def raw_probability(self) -> float | None:
        return _probability(self.raw_logprob)

    @property
    def processed_probability(self) -> float | None:
        """1 of a greedy token."""
        return _probability(self.processed_logprob)


def tokens_of(
    token_ids: Sequence[int], logprobs: Sequence[Mapping[int, Logprob]] | None, given: Sequence[str] = ()
) -> list[Token]:
    """The tokens of one sequence, with what was reported of each.

    Args:
        given: texts of the first tokens, which were given and not drawn.
    """
    positions = [{}] * len(token_ids) if logprobs is None else logprobs
    tokens = [_token(*each) for each in zip(range(len(token_ids)), token_ids, positions, strict=True)]
    tokens[: len(given)] = [Token(place, token_ids[place], text) for place, text in enumerate(given)]
    return tokens


def _token(position: int, token_id: int, found: Mapping[int, Logprob]) -> Token:
    if not found:
        return Token(position, token_id)
    drawn = found[token_id]
    candidates = sorted(found.items(), key=lambda item: item[1].rank)
    return Token(
        position,
        token_id,
        drawn.decoded_token,
        drawn.logprob,
        drawn.rank,
        drawn.entropy,
        drawn.raw_logprob,
        drawn.processed_logprob,
        tuple(Alternative(c.decoded_token, i, math.exp(c.logprob), c.rank) for i, c in candidates),
    )


def _probability(logprob: float | None) -> float | None:
    return None if logprob is None else math.exp(logprob)
