"""What a result tells of one of its sequences; what it does not, a session is asked."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from aphrodite.client import Client
from aphrodite_engine.asking.next_token import NextToken
from aphrodite_engine.asking.score import Score, Scores
from aphrodite_engine.errors import OriginError, ParameterError
from aphrodite_engine.outputs import CompletionOutput, GenerationResult
from aphrodite_engine.params import SamplingParams
from aphrodite_engine.prompts import Prompt


class Session(Protocol):
    """As far as it is asked."""

    def score(self, query: Prompt, *, continuations: Sequence[Prompt]) -> Scores: ...

    def next_token(self, prompt: Prompt, params: SamplingParams | None = None, top: int = 20) -> NextToken: ...


def whom_to_ask(result: GenerationResult, session: Session | None) -> Session | None:
    """The session, or who made the result. None where nobody is left, where only coroutines can ask, and for a result
    that was steered: a session would tell of the model as it is."""
    if result.origin is not None and result.origin.steering.pushes:
        return None
    if session is not None or result.origin is None:
        return session
    try:
        maker = result.origin.maker.find()
    except OriginError:
        return None
    return maker if hasattr(maker, "branch") else None


@dataclass
class Told:
    """One sequence of a result.

    Attributes:
        session: None asks nobody, and what was not reported stays unknown.
    """

    result: GenerationResult
    index: int
    session: Session | None

    @property
    def output(self) -> CompletionOutput:
        return self.result.outputs[self.index]

    @property
    def token_ids(self) -> list[int]:
        return self.output.token_ids

    @cached_property
    def texts(self) -> list[str]:
        """Of each token alone; its id where nothing else is known."""
        reported = [token.text for token in self.output.tokens]
        if all(reported) or self._read is None:
            return [text or f"#{i}" for text, i in zip(reported, self.token_ids, strict=True)]
        return list(self._read.tokens)

    @cached_property
    def probabilities(self) -> list[float | None]:
        """The model's own, of each token; None where it is not known."""
        reported = [token.raw_probability for token in self.output.tokens]
        if None not in reported or self._read is None:
            return reported
        return [math.exp(logprob) for logprob in self._read.logprobs]

    def probability_of(self, position: int, token_id: int) -> float | None:
        """What the model gave another token at a position."""
        if token_id == self.token_ids[position]:
            return self.probabilities[position]
        reported = self._reported(position).get(token_id)
        if reported is not None or self.session is None:
            return reported
        return math.exp(self._score(self._before(position), [token_id]).total)

    def alternatives(self, position: int, count: int, besides: Collection[int]) -> list[int]:
        """The `count` tokens that were most likely at a position, the likeliest first, without those `besides`.

        Raises:
            ParameterError: the result does not report so many, and there is no session to ask.
        """
        others = _likeliest(self._reported(position), besides)
        if len(others) < count and self.session is not None:
            top = count + len(besides)
            found = self.session.next_token(self._before(position), top=top, **self._named).raw
            others = _likeliest({candidate.token_id: candidate.probability for candidate in found}, besides)
        if len(others) < count:
            raise ParameterError("k", count, f"at most {len(others)}, which the result reports, or a session to ask")
        return others[:count]

    def _before(self, position: int) -> list[int]:
        return [*self.result.prompt_token_ids, *self.token_ids[:position]]

    @cached_property
    def _read(self) -> Score | None:
        """The sequence read again."""
        if self.session is None or not self.token_ids:
            return None
        return self._score(self.result.prompt_token_ids, self.token_ids)

    def _score(self, before: Sequence[int], token_ids: Sequence[int]) -> Score:
        assert self.session is not None
        return self.session.score(before, continuations=[token_ids], **self._named)[0]

    @property
    def _named(self) -> dict[str, Any]:
        """A service may have several models; the result says which was asked."""
        origin = self.result.origin
        return {"model": origin.model} if origin is not None and isinstance(self.session, Client) else {}

    def _reported(self, position: int) -> dict[int, float]:
        """By the request's own logprobs, where they are the model's, or by its trace."""
        found: dict[int, float] = {}
        if self.output.traces and self.output.traces[position]:
            found = {candidate.token_id: candidate.probability for candidate in self.output.traces[position][0].top}
        if self._reports_the_model:
            found |= {other.token_id: other.probability for other in self.output.tokens[position].alternatives}
        return found

    @property
    def _reports_the_model(self) -> bool:
        origin = self.result.origin
        return origin is not None and origin.params.logprobs_mode == "raw"


def _likeliest(shares: Mapping[int, float], besides: Collection[int]) -> list[int]:
    likely = sorted(shares, key=lambda token_id: shares[token_id], reverse=True)
    return [token_id for token_id in likely if token_id not in besides]
