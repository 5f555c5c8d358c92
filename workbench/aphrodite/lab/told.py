"""What a result tells of one of its sequences; what it does not, a session is asked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from aphrodite_engine.asking.next_token import NextToken
from aphrodite_engine.asking.score import Score, Scores
from aphrodite_engine.errors import ParameterError
from aphrodite_engine.outputs import CompletionOutput, GenerationResult
from aphrodite_engine.params import SamplingParams
from aphrodite_engine.prompts import Prompt


class Session(Protocol):
    """As far as it is asked."""

    def score(self, query: Prompt, *, continuations: Sequence[Prompt]) -> Scores: ...

    def next_token(self, prompt: Prompt, params: SamplingParams | None = None, top: int = 20) -> NextToken: ...


@dataclass
class Told:
    """One sequence of a result.

    Attributes:
        session: None asks nobody, and what was not reported stays unknown.
    """

    result: GenerationResult
    index: int
    session: Session | None = None

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
        return math.exp(self.session.score(self._before(position), continuations=[[token_id]])[0].total)

    def alternatives(self, position: int, count: int) -> list[int]:
        """The tokens that were most likely at a position, without the one that stands there.

        Raises:
            ParameterError: the result does not report so many, and there is no session to ask.
        """
        reported = self._reported(position)
        if len(reported) <= count and self.session is not None:
            found = self.session.next_token(self._before(position), top=count + 1).raw
            reported = {candidate.token_id: candidate.probability for candidate in found}
        likely = sorted(reported, key=lambda token_id: reported[token_id], reverse=True)
        others = [token_id for token_id in likely if token_id != self.token_ids[position]]
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
        return self.session.score(self.result.prompt_token_ids, continuations=[self.token_ids])[0]

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
        return origin is None or origin.params.logprobs_mode == "raw"
